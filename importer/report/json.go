package report

import (
	"encoding/json"
	"io"
	"unicode/utf8"

	"github.com/slotferry/slotferry/importer/preflight"
)

// WriteJSON writes the plan as one line.
func (p *Plan) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(p) }

// MarshalJSON writes empty lists and maps where there are none, so that readers
// need not tell null from nothing.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan
	list(&p.Slots)
	list(&p.Masters)
	list(&p.Encodings)
	list(&p.HashTags)
	list(&p.BigKeys)
	list(&p.Prefixes)
	list((*[]preflight.Finding)(&p.Blockers))
	list((*[]preflight.Finding)(&p.Warnings))
	counts(&p.Types)
	counts(&p.Databases)
	return json.Marshal(plain(p))
}

func list[T any](l *[]T) {
	if *l == nil {
		*l = []T{}
	}
}

func counts(m *map[string]int64) {
	if *m == nil {
		*m = map[string]int64{}
	}
}

// text is a name's two forms in JSON, of which one is there.
func (t Text) text() (*string, []byte) {
	if !utf8.Valid(t) {
		return nil, t
	}
	s := string(t)
	return &s, nil
}

func newText(s *string, b []byte) Text {
	if s == nil {
		return b
	}
	return Text(*s)
}

// In these the first two fields stand for the name in the fields behind, which
// they hide.
type (
	tagJSON struct {
		Tag    *string `json:"tag,omitempty"`
		Base64 []byte  `json:"tag_base64,omitempty"`
		tagFields
	}
	keyJSON struct {
		Key    *string `json:"key,omitempty"`
		Base64 []byte  `json:"key_base64,omitempty"`
		keyFields
	}
	prefixJSON struct {
		Prefix *string `json:"prefix,omitempty"`
		Base64 []byte  `json:"prefix_base64,omitempty"`
		prefixFields
	}
	tagFields    Tag
	keyFields    BigKey
	prefixFields Prefix
)

func (t Tag) MarshalJSON() ([]byte, error) {
	s, b := t.Tag.text()
	return json.Marshal(tagJSON{s, b, tagFields(t)})
}

func (t *Tag) UnmarshalJSON(p []byte) error {
	var j tagJSON
	if err := json.Unmarshal(p, &j); err != nil {
		return err
	}
	*t = Tag(j.tagFields)
	t.Tag = newText(j.Tag, j.Base64)
	return nil
}

func (k BigKey) MarshalJSON() ([]byte, error) {
	s, b := k.Key.text()
	return json.Marshal(keyJSON{s, b, keyFields(k)})
}

func (k *BigKey) UnmarshalJSON(p []byte) error {
	var j keyJSON
	if err := json.Unmarshal(p, &j); err != nil {
		return err
	}
	*k = BigKey(j.keyFields)
	k.Key = newText(j.Key, j.Base64)
	return nil
}

func (x Prefix) MarshalJSON() ([]byte, error) {
	s, b := x.Prefix.text()
	return json.Marshal(prefixJSON{s, b, prefixFields(x)})
}

func (x *Prefix) UnmarshalJSON(p []byte) error {
	var j prefixJSON
	if err := json.Unmarshal(p, &j); err != nil {
		return err
	}
	*x = Prefix(j.prefixFields)
	x.Prefix = newText(j.Prefix, j.Base64)
	return nil
}
