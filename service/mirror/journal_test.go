package mirror

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
)

// mendPages gives pages the checksums that they would have.
func mendPages(pages []byte, id uint64) {
	for n := uint64(0); len(pages) >= pageBytes; n, pages = n+1, pages[pageBytes:] {
		binary.LittleEndian.PutUint64(pages[atPage:], n)
		binary.LittleEndian.PutUint64(pages[atID:], id)
		binary.LittleEndian.PutUint32(pages[atSum:], crc32.Checksum(pages[:atSum], castagnoli))
	}
}

func TestJournal(t *testing.T) {
	line, err := seal(origin{Base: 3, Boot: "b", Binding: binding{Source: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []change{
		{put, 1, 2, []byte("a")}, {gone, 0, unknown, []byte("")}, {kind: all, name: []byte{}},
		{put, 1 << 63, 1 << 62, []byte(strings.Repeat("n", maxName))},
	}
	data := line
	ends := map[int]int{len(line): 0}
	for i, c := range want {
		data = c.append(data)
		ends[len(data)] = i + 1
	}
	for cut := range len(data) + 1 {
		if cut > 200 && cut < len(data)-200 {
			continue
		}
		n := 0
		o, err := readJournal(bytes.NewReader(data[:cut]), func(c change) error {
			w := want[n]
			if c.kind != w.kind || c.value != w.value || c.mark != w.mark || !bytes.Equal(c.name, w.name) {
				t.Errorf("change %d is %v", n, c)
			}
			n++
			return nil
		})
		if whole, at := ends[cut]; at != (err == nil) || at && n != whole || err != nil && !errors.Is(err, errDamaged) {
			t.Errorf("cut at %d: %d changes, %v", cut, n, err)
		}
		if cut >= len(line) && o.Base != 3 {
			t.Errorf("cut at %d: %+v", cut, o)
		}
	}
}

func FuzzJournal(f *testing.F) {
	line, err := seal(origin{Base: 3, Boot: "b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(change{put, 1, 2, []byte("name")}.append(line), false)
	f.Add(change{gone, 1, 2, []byte("name")}.append(nil), true)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if mend {
			if len(data) > changeHead {
				binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:], castagnoli))
			}
			data = append(bytes.Clone(line), data...)
		}
		var again []byte
		_, err := readJournal(bytes.NewReader(data), func(c change) error {
			if len(c.name) > maxName || c.kind >= kinds {
				t.Fatalf("%v", c)
			}
			again = c.append(again)
			return nil
		})
		if err != nil && !errors.Is(err, errDamaged) {
			t.Fatal(err)
		}
		if _, n, err := decodeChange(again); err != nil && len(again) > 0 || n > len(again) {
			t.Fatal(n, err)
		}
	})
}
