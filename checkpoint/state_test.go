package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/record"
)

func sample() Checkpoint {
	return Checkpoint{
		Job: "nightly <&>", Source: Identity{Text: "/data/dump.rdb", IDs: []string{"rdb:1:abc"}},
		Target: Identity{Text: "127.0.0.1:7000", IDs: []string{"n1", "n2"}},
		Choice: `--include "a b*"`, Policy: "replace",
		Started: time.Unix(1700000000, 123456789).UTC(), Saved: time.Unix(1700000009, 0).UTC(),
		Seconds: 1.0 / 3, Runs: 4, Total: 1 << 40,
		State: State{
			Position: record.Position{DB: 3, Offset: 1 << 50, CRC: 1<<64 - 1, Cursor: 1<<64 - 2, RunID: "abc"},
			Counts:   Counts{Read: 10, Written: 4, Skipped: 1, Expired: 2, Filtered: 2, Failed: 1, Bytes: 9, Permanent: 3},
			Failures: []Failure{{Key: []byte("\xff\x00 %"), DB: 3, Slot: 16383, Node: "n:1", Reason: "no\nreason"}},
		},
	}
}

func encoded(t testing.TB, c Checkpoint) []byte {
	t.Helper()
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEncodeDecode(t *testing.T) {
	for name, c := range map[string]Checkpoint{"full": sample(), "zero": {}} {
		data := encoded(t, c)
		if bytes.Count(data, []byte("\n")) != 1 || data[len(data)-1] != '\n' {
			t.Errorf("%s: not one line: %q", name, data)
		}
		got, err := Decode(data)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	want := sample()
	data := encoded(t, want)
	for i := range data {
		for bit := range 8 {
			altered := bytes.Clone(data)
			altered[i] ^= 1 << bit
			got, err := Decode(altered)
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("bit %d of byte %d: taken for %+v", bit, i, got)
			}
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
	for n := range len(data) - 1 { // without its line end it is whole still
		if _, err := Decode(data[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestDecodeOtherFormat(t *testing.T) {
	data := bytes.Replace(encoded(t, sample()), []byte(`"slotferry_checkpoint":1`), []byte(`"slotferry_checkpoint":2`), 1)
	_, err := Decode(data)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "format is 2") {
		t.Errorf("got %v", err)
	}
}

func TestSame(t *testing.T) {
	a := Identity{Text: "a", IDs: []string{"1", "2"}}
	for _, tc := range []struct {
		ids  []string
		want bool
	}{{[]string{"2", "3"}, true}, {[]string{"3"}, false}, {nil, false}} {
		if got := a.Same(Identity{Text: "a", IDs: tc.ids}); got != tc.want {
			t.Errorf("Same(%q) = %v", tc.ids, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	want := sample()
	data := encoded(f, want)
	f.Add(data)
	f.Add(encoded(f, Checkpoint{}))
	f.Add(data[:len(data)/2])
	f.Add(bytes.Replace(data, []byte(`"runs":4`), []byte(`"runs":5`), 1))
	f.Add([]byte(`{"slotferry_checkpoint":1,"sha256":"","checkpoint":null}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("not ErrDamaged: %v", err)
			}
			return
		}
		// The checksum stands in it: what passes was made for exactly this content.
		again, err := Decode(encoded(t, c))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("does not survive another round: %+v, %v", again, err)
		}
		if c.Job == want.Job && !reflect.DeepEqual(c, want) && c.Source.Text == want.Source.Text {
			t.Fatalf("altered unseen: %+v", c)
		}
	})
}

// FuzzBody has the right checksum over anything, which chance does not find.
func FuzzBody(f *testing.F) {
	for _, c := range []Checkpoint{sample(), {}} {
		body, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte("null"))
	f.Add([]byte(`{"job":"a","JOB":"b","state":{"position":{"offset":-1}}}`))
	f.Add([]byte(`{"job":"\ud800","started":"0001-01-01T00:00:00Z","lives":{"":""}}`))
	f.Add([]byte(`{"started":"2024-02-30T25:00:00+99:99","seconds":1e999,"runs":1.5}`))
	f.Add([]byte("{} {}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		data := fmt.Appendf(nil, `{"slotferry_checkpoint":%d,"sha256":"%x","checkpoint":%s}`, Format, sum, body)
		c, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("not ErrDamaged: %v", err)
			}
			return
		}
		again, err := Decode(encoded(t, c))
		if err != nil || !bytes.Equal(encoded(t, again), encoded(t, c)) {
			t.Fatalf("%+v does not survive another round: %+v, %v", c, again, err)
		}
	})
}
