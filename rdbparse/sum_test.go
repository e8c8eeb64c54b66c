package rdbparse

import (
	"bytes"
	"testing"
)

// TestSums wants the checksum of the file at every place, however it is read, and
// damage to be noticed.
func TestSums(t *testing.T) {
	bench, _ := benchFile(300)
	files := [][]byte{bench}
	for _, name := range fixtureNames {
		files = append(files, readFixture(t, name))
	}
	for i, data := range files {
		damaged := bytes.Clone(data)
		damaged[len(damaged)/2] ^= 1
		for _, o := range []Options{
			{},
			{Seekable: true, InlineMax: 300, BlockBytes: leastBlock},
			{BufferMax: 1 << 20, InlineMax: 300, BlockBytes: leastBlock},
		} {
			w, err := NewWalker(bytes.NewReader(data), o)
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				if s := w.State(); n%7 == 0 && s.CRC != CRC64(0, data[:s.Offset]) {
					t.Fatalf("file %d: CRC at %d is wrong", i, s.Offset)
				}
				if _, err := w.Next(); err != nil {
					if err.Error() != "EOF" {
						t.Fatal(err)
					}
					break
				}
			}
			_, wantErr := walkBytes(damaged, Options{})
			if _, err := walkBytes(damaged, o); errText(err) != errText(wantErr) {
				t.Errorf("file %d damaged: %v, want %v", i, err, wantErr)
			}
		}
	}
}
