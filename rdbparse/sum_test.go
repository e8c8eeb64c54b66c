package rdbparse

import (
	"bytes"
	"testing"
)

// TestSumValues wants the sums that a second run over the values would give,
// and a file's checksum that they don't disturb.
func TestSumValues(t *testing.T) {
	bench, _ := benchFile(300)
	files := [][]byte{bench}
	for _, name := range fixtureNames {
		files = append(files, readFixture(t, name))
	}
	for i, data := range files {
		damaged := bytes.Clone(data)
		damaged[len(damaged)/2] ^= 1
		for _, o := range []Options{
			{SumValues: true},
			{SumValues: true, Seekable: true, InlineMax: 300, BlockBytes: leastBlock},
			{SumValues: true, BufferMax: 1 << 20, InlineMax: 300, BlockBytes: leastBlock},
			{SumValues: true, SkipCRC: true, SkipKeys: true},
		} {
			w, err := NewWalker(bytes.NewReader(data), o)
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				if s := w.State(); n%7 == 0 && !o.SkipCRC && s.CRC != CRC64(0, data[:s.Offset]) {
					t.Fatalf("file %d: CRC at %d is wrong", i, s.Offset)
				}
				e, err := w.Next()
				if err != nil {
					if err.Error() != "EOF" {
						t.Fatal(err)
					}
					break
				}
				var want uint64
				if e.Value != nil {
					want = CRC64(CRC64(0, []byte{e.Type}), e.Value)
				}
				if e.Sum != want {
					t.Fatalf("file %d, %q of %d bytes: %016x, want %016x", i, e.Key, e.ValueLen, e.Sum, want)
				}
			}
			if o.SkipCRC {
				continue
			}
			_, wantErr := walkBytes(damaged, Options{})
			if _, err := walkBytes(damaged, o); errText(err) != errText(wantErr) {
				t.Errorf("file %d damaged: %v, want %v", i, err, wantErr)
			}
		}
	}
}
