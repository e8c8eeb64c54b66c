package psync

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces gives few bytes at a time.
type pieces struct {
	data []byte
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.most)], p.data)
	p.data = p.data[n:]
	return n, nil
}

// fewBytes is a buffer that is soon full.
const fewBytes = 200

// FuzzUntil compares the search for a mark across reads with one in the whole.
func FuzzUntil(f *testing.F) {
	f.Add([]byte("abcXYZdef"), []byte("XYZ"), 1)
	f.Add([]byte("XXXXYXYZ"), []byte("XYZ"), 2)
	f.Add(bytes.Repeat([]byte("0123456789"), 60), []byte("90123456789a"), 70)
	f.Add(append(bytes.Repeat([]byte("x"), fewBytes-20), "0123456789012345678901234567890123456789rest"...), []byte("0123456789012345678901234567890123456789"), fewBytes)
	f.Fuzz(func(t *testing.T, data, mark []byte, most int) {
		if len(mark) == 0 || len(mark) > markBytes || most < 1 {
			return
		}
		want, rest, found := bytes.Cut(data, mark)
		in := &input{src: &pieces{data, most}, buf: make([]byte, fewBytes)}
		var got, behind bytes.Buffer
		n, err := in.until(&got, mark)
		if found != (err == nil) || n != int64(got.Len()) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if !found {
			if !bytes.HasPrefix(data, got.Bytes()) {
				t.Fatal("other bytes")
			}
			return
		}
		for err == nil {
			_, err = in.pass(&behind, 1<<40)
		}
		if !bytes.Equal(got.Bytes(), want) || !bytes.Equal(behind.Bytes(), rest) {
			t.Fatalf("%d and %d bytes, want %d and %d", got.Len(), behind.Len(), len(want), len(rest))
		}
	})
}

// FuzzReply reads what a source may say to PSYNC, and the head of a transfer.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"+FULLRESYNC 0123456789012345678901234567890123456789 0", "\n\n+CONTINUE\r", "+CONTINUE 0123456789", "-NOMASTERLINK Can't SYNC",
		"-LOADING", "-ERR unknown command", "-NOPERM", "+FULLRESYNC x -1", "+FULLRESYNC", "+OK", "$123", "",
	} {
		f.Add([]byte(reply + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newInput(iotest.OneByteReader(bytes.NewReader(data)), func() {})
		line, err := in.line()
		if err != nil {
			return
		}
		if line == "" || strings.ContainsAny(line, "\n") {
			t.Fatalf("a line %q", line)
		}
		a, err := parseAnswer(line)
		if err == nil && a.full && (a.id == "" || a.offset < 0) {
			t.Errorf("%q is %+v", line, a)
		}
		if line[0] != '+' && err == nil {
			t.Errorf("%q was taken", line)
		}
	})
}

func TestAnswers(t *testing.T) {
	id := strings.Repeat("a", 40)
	for reply, want := range map[string]answer{
		"+FULLRESYNC " + id + " 12": {full: true, id: id, offset: 12},
		"+CONTINUE":                 {},
		"+CONTINUE " + id:           {id: id},
	} {
		if got, err := parseAnswer(reply); err != nil || got != want {
			t.Errorf("%s: %+v, %v", reply, got, err)
		}
	}
	for reply, final := range map[string]bool{
		"-NOMASTERLINK Can't SYNC while not connected with my master": false,
		"-LOADING Redis is loading the dataset in memory":             false,
		"-ERR unknown command 'PSYNC', with args beginning with:":     true,
		"-NOPERM this user has no permissions":                        true,
		"+FULLRESYNC " + id:                                           false,
		"+OK":                                                         false,
	} {
		if _, err := parseAnswer(reply); err == nil || errors.Is(err, ErrDenied) != final {
			t.Errorf("%s: %v", reply, err)
		}
	}
}

func TestBufferOfOurs(t *testing.T) {
	list := "id=3 addr=10.0.0.1:5 laddr=10.0.0.9:6379 flags=S omem=100 cmd=replconf\nid=4 addr=10.0.0.2:6 flags=S omem=200\n"
	for local, want := range map[string]int64{"10.0.0.2:6": 200, "10.0.0.3:6": -1} {
		got, ok := ours(list, local)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%s: %d, %t", local, got, ok)
		}
	}
	if got, ok := ours(strings.SplitAfter(list, "\n")[0], "192.168.0.1:5"); !ok || got != 100 {
		t.Errorf("the only one: %d, %t", got, ok)
	}
	if _, ok := ours("", "x"); ok {
		t.Error("found in nothing")
	}
}
