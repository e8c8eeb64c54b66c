package aof

import (
	"strings"
	"testing"
)

func TestManifest(t *testing.T) {
	for _, tc := range []struct{ name, text, want, wrong string }{
		{name: "usual", text: "file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n", want: "b1 a.aof.1.base.rdb, i1 a.aof.1.incr.aof"},
		{name: "no line end", text: "file b seq 1 type b", want: "b1 b"},
		{name: "carriage returns", text: "file b seq 1 type b\r\n", want: "b1 b"},
		{name: "history is passed over", text: "file b seq 2 type b\nfile a seq 1 type h\nfile h seq 9 type h\nfile i seq 3 type i\nfile j seq 4 type i\n", want: "b2 b, i3 i, i4 j"},
		{name: "base last", text: "file i seq 3 type i\nfile b seq 2 type b\n", want: "b2 b, i3 i"},
		{name: "comment", text: "# made by hand\nfile b seq 1 type b\n", want: "b1 b"},
		{name: "newer pairs", text: "file b seq 1 type b startoffset 12 endoffset 13\n", want: "b1 b"},
		{name: "other order and case", text: "TYPE b Seq 1 FILE b\n", want: "b1 b"},
		{name: "quotes", text: `file "a b\"\x41\n\q" seq 1 type b` + "\nfile 'i\\'s' seq 1 type i\n", want: "b1 a b\"A\nq, i1 i's"},
		{name: "quote within a word", text: `file a"b c" seq 1 type b`, want: "b1 ab c"},
		{name: "gap", text: "file b seq 1 type b\nfile i seq 3 type i\nfile j seq 7 type i\n", want: "b1 b, i3 i, i7 j"},
		{name: "empty", text: "", wrong: "line 1: not pairs"},
		{name: "empty line", text: "file b seq 1 type b\n\nfile i seq 1 type i\n", wrong: "line 2: not pairs"},
		{name: "no base", text: "file i seq 1 type i\n", wrong: "it names no base"},
		{name: "two bases", text: "file b seq 1 type b\nfile c seq 2 type b\n", wrong: "line 2: a second base"},
		{name: "order", text: "file b seq 1 type b\nfile i seq 2 type i\nfile j seq 1 type i\n", wrong: "line 3: sequence number 1 after 2"},
		{name: "same number", text: "file b seq 1 type b\nfile i seq 2 type i\nfile j seq 2 type i\n", wrong: "sequence number 2 after 2"},
		{name: "same file", text: "file b seq 1 type b\nfile b seq 2 type i\n", wrong: `"b" stands there twice`},
		{name: "unknown type", text: "file b seq 1 type x\n", wrong: `file type "x"`},
		{name: "longer type", text: "file b seq 1 type base\n", wrong: `file type "base"`},
		{name: "path", text: "file ../b seq 1 type b\n", wrong: `"../b" is no name`},
		{name: "hidden path", text: `file "a\x2fb" seq 1 type b`, wrong: `"a/b" is no name`},
		{name: "other systems' path", text: `file a\b seq 1 type b`, wrong: "is no name"},
		{name: "parent", text: "file .. seq 1 type b\n", wrong: `".." is no name`},
		{name: "no name", text: `file "" seq 1 type b`, wrong: `"" is no name`},
		{name: "no number", text: "file b seq one type b\n", wrong: `"one" is no sequence number`},
		{name: "number 0", text: "file b seq 0 type b\n", wrong: `"0" is no sequence number`},
		{name: "odd words", text: "file b seq 1 type\n", wrong: "not pairs"},
		{name: "missing key", text: "file b seq 1 kind b\n", wrong: "missing"},
		{name: "open quote", text: `file "b seq 1 type b`, wrong: "not pairs"},
		{name: "no space behind a quote", text: `file "b"c seq 1 type b`, wrong: "not pairs"},
		{name: "long line", text: "file " + strings.Repeat("x", 1024) + " seq 1 type b", wrong: "bytes long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			entries, err := parseManifest([]byte(tc.text))
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("got %v, %v, want an error with %q", entries, err, tc.wrong)
				}
				return
			}
			if got := text(entries); err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func text(entries []entry) string {
	var words []string
	for _, e := range entries {
		words = append(words, string(e.kind)+string(rune('0'+e.seq))+" "+e.name)
	}
	return strings.Join(words, ", ")
}

// FuzzManifest: what is taken is safe to open, and quoting is undone.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n"))
	f.Add([]byte(`file "a b\"\x41\n\q" seq 1 type b`))
	f.Add([]byte("file '\\'' seq 1 type b\n#\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 0 {
			word := string(text)
			if words, ok := splitArgs([]byte(quote(word))); !ok || len(words) != 1 || words[0] != word {
				t.Errorf("%q becomes %q", word, words)
			}
		}
		entries, err := parseManifest(text)
		if err != nil {
			return
		}
		last := int64(0)
		for i, e := range entries {
			if (e.kind == kindBase) != (i == 0) || strings.ContainsAny(e.name, "/\\\x00") || e.name == "" || e.name == ".." {
				t.Errorf("entry %d is %+v", i, e)
			}
			if i > 0 && e.seq <= last {
				t.Errorf("sequence number %d after %d", e.seq, last)
			}
			if i > 0 {
				last = e.seq
			}
		}
	})
}
