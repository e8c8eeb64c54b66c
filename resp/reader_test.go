package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// drawn reads replies to the end and writes down what they were. Bodies of more
// than hold bytes are discarded.
func drawn(r *Reader, hold int64) (text []string, err error) {
	for {
		if n := r.SkipOK(3); n > 0 {
			for range n {
				text = append(text, "+OK")
			}
			continue
		}
		h, err := r.Head()
		if err != nil {
			return text, err
		}
		switch {
		case h.Kind == '+' || h.Kind == '-':
			text = append(text, string(h.Kind)+string(h.Line))
		case h.Kind == '$' && h.N <= hold:
			body, owned, err := r.Body(h.N)
			if err != nil {
				return text, err
			}
			if !owned {
				body = bytes.Clone(body)
			}
			text = append(text, fmt.Sprintf("$%d %q %t", h.N, body, body == nil))
		case h.Kind == '$':
			if err := r.Skip(h); err != nil {
				return text, err
			}
			text = append(text, fmt.Sprintf("$%d skipped", h.N))
		default:
			text = append(text, fmt.Sprintf("%c%d", h.Kind, h.N))
		}
	}
}

func TestReader(t *testing.T) {
	big := strings.Repeat("0123456789", 30_000)
	for _, tc := range []struct {
		name, in string
		want     []string
		err      error
	}{
		{"nothing", "", nil, io.EOF},
		{"lines", "+OK\r\n-ERR no\r\n+\r\n+PONG\r\n", []string{"+OK", "-ERR no", "+", "+PONG"}, io.EOF},
		{"numbers", ":0\r\n:-12\r\n:999999999999999999\r\n", []string{":0", ":-12", ":999999999999999999"}, io.EOF},
		{"the largest numbers", ":9223372036854775807\r\n:-9223372036854775808\r\n", []string{":9223372036854775807", ":-9223372036854775808"}, io.EOF},
		{"one above", ":9223372036854775808\r\n", nil, ErrProtocol},
		{"one below", ":-9223372036854775809\r\n", nil, ErrProtocol},
		{"bodies", "$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n", []string{`$3 "a\r\n" false`, `$0 "" false`, `$-1 "" true`}, io.EOF},
		{"a large body", "$300000\r\n" + big + "\r\n+OK\r\n", []string{fmt.Sprintf("$300000 %q false", big), "+OK"}, io.EOF},
		{"a body that is not held", "$400000\r\n" + big + big[:100_000] + "\r\n:1\r\n", []string{"$400000 skipped", ":1"}, io.EOF},
		{"arrays", "*2\r\n+a\r\n*0\r\n*-1\r\n", []string{"*2", "+a", "*0", "*-1"}, io.EOF},
		{"cut in a line", "+OK\r\n+PO", []string{"+OK"}, io.ErrUnexpectedEOF},
		{"cut in a body", "$5\r\nab", nil, io.ErrUnexpectedEOF},
		{"cut before a body's line end", "$2\r\nab\r", nil, io.ErrUnexpectedEOF},
		{"cut in a large body", "$300000\r\n" + big[:200_000], nil, io.ErrUnexpectedEOF},
		{"cut in what is not held", "$400000\r\n" + big, nil, io.ErrUnexpectedEOF},
		{"a body longer than it says", "$2\r\nabc\r\n", nil, ErrProtocol},
		{"a large body longer than it says", "$299999\r\n" + big + "\r\n", nil, ErrProtocol},
		{"no kind", "hello\r\n", nil, ErrProtocol},
		{"empty line", "\r\n", nil, ErrProtocol},
		{"bare newline", "+OK\n", nil, ErrProtocol},
		{"newline at once", "\n", nil, ErrProtocol},
		{"no number", "$x\r\n", nil, ErrProtocol},
		{"no digits", ":\r\n", nil, ErrProtocol},
		{"minus only", ":-\r\n", nil, ErrProtocol},
		{"length below nil", "$-2\r\n", nil, ErrProtocol},
		{"more elements than anyone sends", "*33554433\r\n", nil, ErrProtocol},
		{"longer than any word", "$536870913\r\n", nil, ErrProtocol},
		{"more digits than fit", "$99999999999999999999\r\n", nil, ErrProtocol},
		{"a line without end", "+" + big, nil, ErrProtocol},
		{"a line as long as may be", "+" + big[:65_000] + "\r\n", []string{"+" + big[:65_000]}, io.EOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"whole":                   strings.NewReader(tc.in),
				"byte by byte":            iotest.OneByteReader(strings.NewReader(tc.in)),
				"in halves":               iotest.HalfReader(strings.NewReader(tc.in)),
				"end with the last bytes": iotest.DataErrReader(strings.NewReader(tc.in)),
			} {
				got, err := drawn(NewReader(src, 0, nil), 300_000)
				if !errors.Is(err, tc.err) || fmt.Sprint(got) != fmt.Sprint(tc.want) {
					t.Errorf("%s: %.200q, %v; want %.200q, %v", how, got, err, tc.want, tc.err)
				}
			}
		})
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("broken")
	for _, in := range []string{"", "+OK", "$5\r\nab", "$300000\r\nab"} {
		r := NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), 0, nil)
		if _, err := drawn(r, 1<<20); !errors.Is(err, broken) {
			t.Errorf("after %q: %v", in, err)
		}
	}
}

// stuck is a source that neither gives nor fails.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderNoProgress(t *testing.T) {
	for _, in := range []string{"", "$300000\r\nab"} {
		if _, err := drawn(NewReader(io.MultiReader(strings.NewReader(in), stuck{}), 0, nil), 1<<20); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("after %q: %v", in, err)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, tc := range []struct {
		in  string
		err error
	}{
		{"+OK\r\n", nil},
		{":5\r\n", nil},
		{"$3\r\nabc\r\n", nil},
		{"$-1\r\n", nil},
		{"*3\r\n$1\r\na\r\n:5\r\n*0\r\n", nil},
		{"*-1\r\n", nil},
		{"*1\r\n*1\r\n+a\r\n", ErrProtocol},
		{"*2\r\n+a\r\n", io.EOF},
	} {
		r := NewReader(strings.NewReader(tc.in+":77\r\n"), 0, nil)
		if tc.err == io.EOF {
			r = NewReader(strings.NewReader(tc.in), 0, nil)
		}
		h, err := r.Head()
		if err == nil {
			err = r.Skip(h)
		}
		if !errors.Is(err, tc.err) {
			t.Errorf("Skip of %q: %v", tc.in, err)
		}
		if err == nil {
			if h, err := r.Head(); err != nil || h.N != 77 {
				t.Errorf("behind %q: %+v, %v", tc.in, h, err)
			}
		}
	}
}

func TestSkipOK(t *testing.T) {
	r := NewReader(strings.NewReader(strings.Repeat("+OK\r\n", 5)+"+OKAY\r\n+OK\r\n-ERR\r\n+O"), 0, nil)
	if r.SkipOK(10) != 0 || r.Buffered() != 0 {
		t.Error("it waited for bytes")
	}
	if h, err := r.Head(); err != nil || string(h.Line) != "OK" {
		t.Fatalf("%+v, %v", h, err)
	}
	for _, step := range []struct{ limit, want int }{{0, 0}, {3, 3}, {10, 1}, {10, 0}} {
		if got := r.SkipOK(step.limit); got != step.want {
			t.Errorf("SkipOK(%d) = %d, want %d", step.limit, got, step.want)
		}
	}
	if h, err := r.Head(); err != nil || string(h.Line) != "OKAY" {
		t.Errorf("%+v, %v", h, err)
	}
	if n := r.SkipOK(10); n != 1 {
		t.Errorf("%d, want 1", n)
	}
}

func TestOnFill(t *testing.T) {
	fills := 0
	r := NewReader(iotest.OneByteReader(strings.NewReader("$300000\r\n"+strings.Repeat("x", 300_000)+"\r\n")), 0, func() { fills++ })
	h, err := r.Head()
	if err == nil {
		_, _, err = r.Body(h.N)
	}
	if err != nil || fills != 9+300_000+2 {
		t.Errorf("%d fills, %v", fills, err)
	}
}

// Any bytes are read without a panic, the same whole as byte by byte, and
// without more memory than the caller is ready to hold.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"+OK\r\n+OK\r\n-ERR no\r\n:5\r\n$3\r\nabc\r\n*2\r\n+a\r\n$-1\r\n", "$100\r\nabc", "*-1\r\n*0\r\n", "+OK\r\n+OKAY\r\n", "$536870912\r\n", "\r\n", "-\n",
		":9223372036854775807\r\n:-9223372036854775808\r\n:10000000000000000000\r\n", "*3\r\n:1\r\n*0\r\n$2\r\n\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	const hold = 1000
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := drawn(NewReader(bytes.NewReader(in), 0, nil), hold)
		if err == nil {
			t.Fatal("no end")
		}
		bit, bitErr := drawn(NewReader(iotest.OneByteReader(bytes.NewReader(in)), 0, nil), hold)
		if fmt.Sprint(whole) != fmt.Sprint(bit) || err.Error() != bitErr.Error() {
			t.Errorf("whole %q, %v\nbyte by byte %q, %v", whole, err, bit, bitErr)
		}
		r := NewReader(bytes.NewReader(in), 0, nil)
		for {
			h, err := r.Head()
			if err != nil || r.Skip(h) != nil {
				return
			}
		}
	})
}

// FuzzNumber compares with the standard library's reading, which takes a plus
// sign as well.
func FuzzNumber(f *testing.F) {
	for _, seed := range []string{"0", "-1", "007", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "+1", "-", "", "1 "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseInt([]byte(text))
		want, err := strconv.ParseInt(text, 10, 64)
		possible := err == nil && text[0] != '+' && len(strings.TrimPrefix(text, "-")) <= 19
		if ok != possible || ok && got != want {
			t.Errorf("%q is read as %d, %t; want %d, %v", text, got, ok, want, err)
		}
	})
}

func TestAppend(t *testing.T) {
	b := AppendArray(nil, 3)
	b = AppendBulk(b, []byte("a\r\nb"))
	b = AppendInt(b, -9223372036854775808)
	b = AppendBulkHead(b, 0)
	if want := "*3\r\n$4\r\na\r\nb\r\n$20\r\n-9223372036854775808\r\n$0\r\n"; string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
	if got, want := string(AppendCommand([]byte("x"), "GET", "")), "x*2\r\n$3\r\nGET\r\n$0\r\n\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func BenchmarkReadOK(b *testing.B) {
	in := bytes.Repeat([]byte("+OK\r\n"), 20_000)
	src := bytes.NewReader(in)
	r := NewReader(src, 128<<10, nil)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(in)
		for left := 20_000; left > 0; left-- {
			if left -= r.SkipOK(left); left == 0 {
				break
			}
			if _, err := r.Head(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
