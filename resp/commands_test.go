package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// commandsOf reads to the end and writes down what came. It looks into the
// buffer every now and then as a caller does that may not wait.
func commandsOf(t *testing.T, r *CommandReader) (text []string, err error) {
	t.Helper()
	r.Annotation = func(line []byte) { text = append(text, fmt.Sprintf("%s@%d", line, r.Offset())) }
	for n := 0; ; n++ {
		if n%2 == 0 {
			r.Ready()
		}
		words, raw, err := r.Next()
		if err != nil {
			return text, err
		}
		again := AppendArray(nil, len(words))
		for _, w := range words {
			again = AppendBulk(again, w)
		}
		if !bytes.Equal(raw, again) {
			t.Errorf("the bytes of %.200q are %.200q", words, raw)
		}
		text = append(text, fmt.Sprintf("%q@%d", bytes.Join(words, []byte(" ")), r.Offset()))
	}
}

func TestCommandReader(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000) // more than the buffer
	ping := "*1\r\n$4\r\nPING\r\n"
	many := string(AppendArray(nil, 100_000)) + strings.Repeat("$1\r\na\r\n", 100_000)
	for _, tc := range []struct {
		name, in string
		want     []string
		err      error
		offset   int64
	}{
		{"nothing", "", nil, io.EOF, 0},
		{"commands", ping + "*2\r\n$4\r\nINCR\r\n$3\r\na\r\n\r\n", []string{`"PING"@14`, `"INCR a\r\n"@37`}, io.EOF, 37},
		{"empty words", "*2\r\n$0\r\n\r\n$0\r\n\r\n", []string{`" "@16`}, io.EOF, 16},
		{"newlines between", "\n\r\n" + ping + "\n\n" + ping + "\r\n", []string{`"PING"@17`, `"PING"@33`}, io.EOF, 35},
		{"annotations", "#TS:1\r\n" + ping + "#TS:2\n#\r\n" + ping, []string{"#TS:1@7", `"PING"@21`, "#TS:2@27", "#@30", `"PING"@44`}, io.EOF, 44},
		{"a large word", ping + "*2\r\n$1\r\na\r\n$1000000\r\n" + big + "\r\n" + ping,
			[]string{`"PING"@14`, fmt.Sprintf("%q@1000037", "a "+big), `"PING"@1000051`}, io.EOF, 1000051},
		{"many words", ping + many + ping, []string{`"PING"@14`, fmt.Sprintf("%q@700023", strings.Repeat(" a", 100_000)[1:]), `"PING"@700037`}, io.EOF, 700037},
		{"cut in the head", ping + "*2\r", []string{`"PING"@14`}, io.ErrUnexpectedEOF, 14},
		{"cut behind the head", "*2\r\n", nil, io.ErrUnexpectedEOF, 0},
		{"cut in a length", ping + "*1\r\n$1", []string{`"PING"@14`}, io.ErrUnexpectedEOF, 14},
		{"cut in a word", ping + "\n*1\r\n$4\r\nPI", []string{`"PING"@14`}, io.ErrUnexpectedEOF, 15},
		{"cut in the last line end", ping + ping[:13], []string{`"PING"@14`}, io.ErrUnexpectedEOF, 14},
		{"cut in a large word", ping + "*1\r\n$1000000\r\n" + big[:700_000], []string{`"PING"@14`}, io.ErrUnexpectedEOF, 14},
		{"cut in an annotation", ping + "#TS:1", []string{`"PING"@14`}, io.ErrUnexpectedEOF, 14},
		{"cut in a newline", ping + "\r", []string{`"PING"@14`}, io.ErrUnexpectedEOF, 14},
		{"an inline command", ping + "PING\r\n", []string{`"PING"@14`}, ErrProtocol, 14},
		{"a reply", "+OK\r\n", nil, ErrProtocol, 0},
		{"zeros", ping + "\x00\x00\x00\x00", []string{`"PING"@14`}, ErrProtocol, 14},
		{"no words", "*0\r\n", nil, ErrProtocol, 0},
		{"a nil array", "*-1\r\n", nil, ErrProtocol, 0},
		{"no number", "*\r\n", nil, ErrProtocol, 0},
		{"a bare newline in the head", "*1\n", nil, ErrProtocol, 0},
		{"a carriage return alone", "\rx", nil, ErrProtocol, 0},
		{"a newline between words", ping + "*2\r\n$1\r\na\r\n\r\n$1\r\na\r\n", []string{`"PING"@14`}, ErrProtocol, 14},
		{"a leading zero", "*1\r\n$01\r\na\r\n", nil, ErrProtocol, 0},
		{"a nil word", "*1\r\n$-1\r\n", nil, ErrProtocol, 0},
		{"an integer as a word", "*1\r\n:1\r\n", nil, ErrProtocol, 0},
		{"a word longer than it says", "*1\r\n$1\r\nab\r\n", nil, ErrProtocol, 0},
		{"a word shorter than it says", "*1\r\n$4\r\nab\r\n*1\r\n", nil, ErrProtocol, 0},
		{"a length that is no number", "*1\r\n$99999999999999999999\r\n", nil, ErrProtocol, 0},
		{"a word larger than may be", ping + "*1\r\n$2000000\r\n", []string{`"PING"@14`}, ErrTooLarge, 14},
		{"the largest length", "*1\r\n$999999999999999999\r\n", nil, ErrTooLarge, 0},
		{"words larger than may be", ping + "*3\r\n$1000000\r\n" + big + "\r\n$900000\r\n" + big, []string{`"PING"@14`}, ErrTooLarge, 14},
		{"more words than may be", "*1048577\r\n", nil, ErrTooLarge, 0},
		{"an endless annotation", ping + "#" + big, []string{`"PING"@14`}, ErrProtocol, 14},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"whole":                   strings.NewReader(tc.in),
				"in small pieces":         &pieces{[]byte(tc.in), 1 + len(tc.in)/1000},
				"in halves":               iotest.HalfReader(strings.NewReader(tc.in)),
				"end with the last bytes": iotest.DataErrReader(strings.NewReader(tc.in)),
			} {
				r := NewCommandReader(src, 1_500_000)
				got, err := commandsOf(t, r)
				if !errors.Is(err, tc.err) || fmt.Sprint(got) != fmt.Sprint(tc.want) || r.Offset() != tc.offset {
					t.Errorf("%s: %.200q, %v at %d; want %.200q, %v at %d", how, got, err, r.Offset(), tc.want, tc.err, tc.offset)
				}
				if _, _, again := r.Next(); !errors.Is(again, tc.err) || r.Offset() != tc.offset {
					t.Errorf("%s: asked again: %v at %d", how, again, r.Offset())
				}
			}
		})
	}
}

func TestSetMaxWords(t *testing.T) {
	r := NewCommandReader(strings.NewReader("*2\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n"), 1<<20)
	r.SetMaxWords(2)
	if got, err := commandsOf(t, r); len(got) != 1 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCommandReaderGoesOn cuts the source into parts, with an error that passes
// behind each, such as that of a deadline.
func TestCommandReaderGoesOn(t *testing.T) {
	passing := errors.New("passing")
	word := strings.Repeat("x", 600_000)
	in := "#a\r\n\r\n*2\r\n$3\r\nSET\r\n$600000\r\n" + word + "\r\n\n*1\r\n$4\r\nEXEC\r\n"
	for cut := range 40 {
		for _, at := range []int{cut, len(in) - cut} {
			r := NewCommandReader(io.MultiReader(strings.NewReader(in[:at]), &once{passing}, strings.NewReader(in[at:])), 1<<20)
			var got []string
			var interrupted bool
			for {
				words, _, err := r.Next()
				if err == passing && !interrupted {
					interrupted = true
					continue
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("cut at %d: %v", at, err)
				}
				got = append(got, fmt.Sprint(len(words), len(words[len(words)-1]), r.Offset()))
			}
			if want := "[2 600000 600030 1 4 600045]"; fmt.Sprint(got) != want || !interrupted {
				t.Errorf("cut at %d: %v, want %s", at, got, want)
			}
		}
	}
}

// once fails one time.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	if o.err = io.EOF; err == nil {
		err = io.EOF
	}
	return 0, err
}

func TestReady(t *testing.T) {
	ping := "*1\r\n$4\r\nPING\r\n"
	for _, tc := range []struct {
		name, behind string
		want         bool
	}{
		{"nothing", "", false},
		{"another", ping, true},
		{"another behind newlines", "\n\r\n" + ping, true},
		{"newlines", "\n\r\n", false},
		{"half of a newline", "\r", false},
		{"a part", ping[:10], false},
		{"an annotation", "#TS:1\r\n" + ping, false},
		{"what fails at once", "+OK\r\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := NewCommandReader(strings.NewReader(ping+tc.behind), 1<<20)
			if r.Ready() {
				t.Error("ready before anything was read")
			}
			words, raw, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := r.Ready(); got != tc.want {
					t.Errorf("Ready() = %t", got)
				}
			}
			if string(words[0]) != "PING" || string(raw) != ping {
				t.Errorf("the command became %q, %q", words, raw)
			}
		})
	}
}

// TestCommandReaderMemory looks at what is held behind a large command.
func TestCommandReaderMemory(t *testing.T) {
	large := AppendCommand(nil, "SET", "k", strings.Repeat("x", spareBuffer))
	long := AppendArray(nil, 2*spareWords)
	for range 2 * spareWords {
		long = AppendBulk(long, []byte("word"))
	}
	ping := AppendCommand(nil, "PING")
	in := bytes.Join([][]byte{large, long, bytes.Repeat(ping, 100)}, nil)
	r := NewCommandReader(bytes.NewReader(in), 8<<20)
	for n := range 102 {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if n == 1 && len(r.buf) >= spareBuffer {
			t.Fatalf("%d bytes are held at once behind a large command", len(r.buf))
		}
		if n > 1+spareCommands && (len(r.buf) != commandBuffer || cap(r.words) > spareWords || cap(r.spans) > spareWords) {
			t.Fatalf("command %d: %d bytes and %d words are held", n, len(r.buf), cap(r.words))
		}
	}
}

func TestCommandReaderAllocates(t *testing.T) {
	in := bytes.Repeat(AppendCommand(nil, "SET", "key", "value"), 50_000)
	src := bytes.NewReader(in)
	r := NewCommandReader(src, 1<<20)
	if n := testing.AllocsPerRun(10, func() {
		src.Reset(in)
		for range 50_000 {
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			r.Ready()
		}
	}); n != 0 {
		t.Errorf("%v allocations for 50,000 commands", n)
	}
}

func FuzzCommandReader(f *testing.F) {
	for _, in := range []string{
		"*1\r\n$4\r\nPING\r\n", "\n\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n#TS:1\r\n*1\r\n$1\r\nx\r\n", "*1\r\n$4\r\nab\r\n", "*3\r\n$3\r\nSET\r\n", "#", "\r", "*0\r\n", "*9999999\r\n",
	} {
		f.Add([]byte(in), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		r := NewCommandReader(bytes.NewReader(in), 1<<16)
		want, wantErr := commandsOf(t, r)
		offset := r.Offset()
		if offset < 0 || offset > int64(len(in)) || wantErr == nil {
			t.Fatalf("%v at %d", wantErr, offset)
		}
		if wantErr == io.EOF && offset != int64(len(in)) {
			t.Fatalf("the end at %d of %d", offset, len(in))
		}
		if !errors.Is(wantErr, io.EOF) && !errors.Is(wantErr, io.ErrUnexpectedEOF) && !errors.Is(wantErr, ErrProtocol) && !errors.Is(wantErr, ErrTooLarge) {
			t.Fatal(wantErr)
		}
		r = NewCommandReader(&pieces{in, int(size) + 1}, 1<<16)
		got, err := commandsOf(t, r)
		if fmt.Sprint(got) != fmt.Sprint(want) || errors.Is(err, ErrProtocol) != errors.Is(wantErr, ErrProtocol) || r.Offset() != offset {
			t.Fatalf("in pieces of %d: %q, %v at %d; want %q, %v at %d", int(size)+1, got, err, r.Offset(), want, wantErr, offset)
		}
	})
}

// pieces gives so many bytes at most.
type pieces struct {
	in   []byte
	most int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.most)], p.in)
	p.in = p.in[n:]
	return n, nil
}

func BenchmarkCommandReader(b *testing.B) {
	for _, tc := range []struct {
		name  string
		value int
	}{{"64 bytes", 64}, {"16 KiB", 16 << 10}, {"1 MiB", 1 << 20}} {
		b.Run(tc.name, func(b *testing.B) {
			one := AppendCommand(nil, "SET", "key:000000001", strings.Repeat("x", tc.value))
			n := max(1, 4<<20/len(one))
			in := bytes.Repeat(one, n)
			src := bytes.NewReader(in)
			r := NewCommandReader(src, 64<<20)
			b.SetBytes(int64(len(one)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%n == 0 {
					src.Reset(in)
				}
				if _, _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
