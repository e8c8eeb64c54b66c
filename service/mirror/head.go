package mirror

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/slotferry/slotferry/importer"
)

const (
	format  = 1
	maxHead = 1 << 20 // bytes
	maxKeys = 1 << 40
)

// binding says which mirror a digest is about.
type binding struct {
	Source string   `json:"source"`
	Target []string `json:"target"`
	Choice string   `json:"choice"`
}

func bindingOf(r importer.MirrorRun) binding { return binding{r.Source, r.Target, r.Choice} }

// differs says what another binding has that this one has not, "" if nothing.
func (b binding) differs(o binding) string {
	switch {
	case b.Source != o.Source:
		return "source"
	case b.Choice != o.Choice:
		return "choice of keys"
	}
	for _, id := range b.Target {
		for _, other := range o.Target {
			if id == other {
				return ""
			}
		}
	}
	return "target"
}

// head names the table that counts, and says what is in it.
type head struct {
	ID         uint64  `json:"id"`
	Keys       int64   `json:"keys"`
	Permanent  int64   `json:"permanent"` // of Keys: known to be there, without an expiry
	NamesBytes int64   `json:"names_bytes"`
	Binding    binding `json:"binding"`
}

func (h head) pages() int64 { return (h.Keys + pageEntries - 1) / pageEntries }

// sealed is a stored form: the checksum is over the bytes of Body.
type sealed struct {
	Slotferry int             `json:"slotferry_mirror"`
	SHA256    string          `json:"sha256"`
	Body      json.RawMessage `json:"body"`
}

// seal returns one line of JSON with format version and checksum.
func seal(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	out, err := json.Marshal(sealed{format, hex.EncodeToString(sum[:]), body})
	return append(out, '\n'), err
}

// unseal is the reverse of seal.
func unseal(data []byte, v any) error {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	if s.Slotferry != format {
		return fmt.Errorf("%w: its format is %d, this program knows %d", errDamaged, s.Slotferry, format)
	}
	sum := sha256.Sum256(s.Body)
	if hex.EncodeToString(sum[:]) != s.SHA256 {
		return fmt.Errorf("%w: its checksum does not match", errDamaged)
	}
	d := json.NewDecoder(bytes.NewReader(s.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	return nil
}

func decodeHead(data []byte) (head, error) {
	var h head
	if err := unseal(data, &h); err != nil {
		return h, err
	}
	if h.Keys < 0 || h.Keys > maxKeys || h.NamesBytes < 0 || h.Permanent < 0 || h.Permanent > h.Keys {
		return h, fmt.Errorf("%w: it can't have %d keys", errDamaged, h.Keys)
	}
	return h, nil
}
