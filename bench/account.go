package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// summary is the last line of an import's standard output.
type summary struct {
	Event    string `json:"event"`
	Read     int64  `json:"read"`
	Written  int64  `json:"written"`
	Skipped  int64  `json:"skipped"`
	Expired  int64  `json:"expired"`
	Filtered int64  `json:"filtered"`
	Failed   int64  `json:"failed"`
	Resumed  bool   `json:"resumed"`

	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`

	// Of an import by sync alone.
	CopySeconds float64       `json:"copy_seconds"` // of the full copy, from its first key on
	Tail        *tailAccount  `json:"tail"`
	Cutover     *cutoverFacts `json:"cutover"`
}

// check compares the account with itself and with what the cluster holds.
func (s summary) check(keys, held int64) error {
	if err := s.sound(); err != nil {
		return err
	}
	switch {
	case s.Read < keys: // SCAN may yield a key twice
		return fmt.Errorf("%d keys were read, the source has %d", s.Read, keys)
	case held != keys-s.Expired:
		return fmt.Errorf("the cluster holds %d keys, not %d: %+v", held, keys-s.Expired, s)
	}
	return nil
}

// sound wants an account that adds up, and every key written or expired.
func (s summary) sound() error {
	answered := s.Written + s.Skipped + s.Expired + s.Filtered + s.Failed
	switch {
	case s.Read != answered:
		return fmt.Errorf("the account does not add up: %+v", s)
	case s.Tail != nil && (s.Tail.Failed != 0 || s.Tail.Refused != 0):
		return fmt.Errorf("no command should fail: %+v", *s.Tail)
	case s.Failed != 0 || s.Skipped != 0 || s.Filtered != 0 || s.Resumed:
		return fmt.Errorf("nothing should fail, be left out or be resumed: %+v", s)
	}
	return nil
}

// progress is how fast an import was for a second.
type progress struct{ keys, bytes float64 } // a second

// speeds reads how fast it was from one event of progress to the next.
func speeds(stdout []byte) []progress {
	type event struct {
		Event   string  `json:"event"`
		Written int64   `json:"written"`
		Bytes   int64   `json:"bytes"`
		Seconds float64 `json:"seconds"`
	}
	var all []progress
	var before event
	for line := range bytes.Lines(stdout) {
		var e event
		if json.Unmarshal(line, &e) != nil || e.Event != "progress" {
			continue
		}
		if took := e.Seconds - before.Seconds; before.Event != "" && took > 0 {
			all = append(all, progress{float64(e.Written-before.Written) / took, float64(e.Bytes-before.Bytes) / took})
		}
		before = e
	}
	return all
}

// verification is the last line of a verify's standard output.
type verification struct {
	Event         string `json:"event"`
	Compared      int64  `json:"compared"`
	Differences   int64  `json:"differences"`
	NotComparable int64  `json:"not_comparable"`
	Filtered      int64  `json:"filtered"`
	Resumed       bool   `json:"resumed"`
}

// check wants every key compared and the same. Only SCAN may yield a key twice.
func (v verification) check(keys int64, live bool) error {
	switch {
	case v.Differences != 0 || v.NotComparable != 0 || v.Filtered != 0 || v.Resumed:
		return fmt.Errorf("nothing should differ, be left out or be resumed: %+v", v)
	case v.Compared < keys || v.Compared > keys && !live:
		return fmt.Errorf("%d keys were compared, the source has %d", v.Compared, keys)
	}
	return nil
}

// plan is what counts of a plan's document.
type plan struct {
	Keys    int64 `json:"keys"`
	Masters []struct {
		Keys int64 `json:"keys"`
	} `json:"masters"`
	Blockers []any `json:"blockers"`
}

// check wants all keys on as many masters as were asked for.
func (p plan) check(keys int64, masters int) error {
	var sum int64
	for _, m := range p.Masters {
		sum += m.Keys
	}
	if p.Keys != keys || sum != keys || len(p.Masters) != masters || len(p.Blockers) != 0 {
		return fmt.Errorf("the plan has %d keys, %d of them on %d masters, and %d blockers; the source has %d keys",
			p.Keys, sum, len(p.Masters), len(p.Blockers), keys)
	}
	return nil
}

// lastLine reads the summary line that ends what the tool wrote.
func lastLine[T summary | verification](stdout []byte) (T, error) {
	lines := bytes.Split(bytes.TrimSpace(stdout), []byte("\n"))
	last := lines[len(lines)-1]
	var kind struct {
		Event string `json:"event"`
	}
	var v T
	err := json.Unmarshal(last, &kind)
	if err == nil && kind.Event != "summary" {
		err = fmt.Errorf("its event is %q", kind.Event)
	}
	if err == nil {
		err = json.Unmarshal(last, &v)
	}
	if err != nil {
		return v, fmt.Errorf("the tool's last line %.200q is no summary: %w", last, err)
	}
	return v, nil
}
