package scan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

// replies is a connection that says what it was given, whatever it is asked.
type replies struct {
	io.Reader
	net.Conn // nil: nothing else is used
}

func (r replies) Read(b []byte) (int, error)      { return r.Reader.Read(b) }
func (replies) Write(b []byte) (int, error)       { return len(b), nil }
func (replies) SetWriteDeadline(time.Time) error  { return nil }
func (r replies) SetReadDeadline(time.Time) error { return nil }

// taken is a sink that only counts.
type taken struct {
	records, marks int
	reasons        []string
	last           record.Record
}

func (s *taken) Record(r *record.Record) error {
	s.records++
	s.last = *r
	if r.Fate == record.Refused {
		s.reasons = append(s.reasons, r.Reason)
	}
	return nil
}
func (*taken) Program(record.Program) error { return nil }
func (s *taken) Mark(record.Position) error { s.marks++; return nil }

func scanReplies(data []byte, pttl, memory bool) (*taken, error) {
	keys, err := choice.New(choice.Options{})
	if err != nil {
		return nil, err
	}
	s := New(Options{Choice: keys, MaxValue: 1 << 20})
	defer s.Close()
	conn, sink := replies{Reader: bytes.NewReader(data)}, &taken{}
	p := &pipe{ctx: context.Background(), conn: conn, r: resp.NewReader(conn, 0, nil), source: s, flight: &flight{count: 1000}, sink: &progress{Sink: sink}, pttl: pttl, memory: memory}
	p.r.SetMaxBulk(1 << 40)
	return sink, p.scan(0, 0)
}

const (
	selected = "+OK\r\n"
	onePage  = "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"
	value    = "$13\r\n\x00\x01v\x0b\x00\x01\x02\x03\x04\x05\x06\x07\x08\r\n"
)

func TestReplies(t *testing.T) {
	for name, tc := range map[string]struct {
		replies string
		pttl    bool
		records int
		retry   bool   // another connection may do better
		err     string // "" for none
	}{
		"one key":                {selected + onePage + value + ":-1\r\n", false, 1, false, ""},
		"one key, PTTL":          {selected + onePage + value + "*2\r\n$2\r\n17\r\n$1\r\n5\r\n:9\r\n", true, 1, false, ""},
		"gone":                   {selected + onePage + "$-1\r\n:-2\r\n", false, 1, false, ""},
		"gone after DUMP":        {selected + onePage + value + ":-2\r\n", false, 1, false, ""},
		"DUMP refused":           {selected + onePage + "-ERR no\r\n:-1\r\n", false, 1, false, ""},
		"expiry refused":         {selected + onePage + value + "-ERR no\r\n", false, 1, false, ""},
		"no right to the key":    {selected + onePage + "-NOPERM No permissions to access a key\r\n-NOPERM No permissions to access a key\r\n", false, 1, false, ""},
		"no right to DUMP":       {selected + onePage + "-NOPERM User x has no permissions to run the 'dump' command\r\n", false, 0, false, "NOPERM"},
		"loading":                {selected + "-LOADING wait\r\n", false, 0, true, "LOADING"},
		"SELECT refused":         {"-ERR DB index is out of range\r\n", false, 0, false, "out of range"},
		"cut":                    {selected + onePage + value[:9], false, 0, true, "connection lost"},
		"nothing":                {"", false, 0, true, ""},
		"cursor is no number":    {selected + "*2\r\n$1\r\nx\r\n*0\r\n", false, 0, true, "cursor"},
		"cursor is too long":     {selected + "*2\r\n$21\r\n" + strings.Repeat("1", 21) + "\r\n*0\r\n", false, 0, false, "21 bytes"},
		"largest cursor":         {selected + "*2\r\n$20\r\n18446744073709551615\r\n*0\r\n*2\r\n$1\r\n0\r\n*0\r\n", false, 0, false, ""},
		"SCAN of three":          {selected + "*3\r\n$1\r\n0\r\n*0\r\n*0\r\n", false, 0, true, "SCAN"},
		"SCAN without keys":      {selected + "*2\r\n$1\r\n0\r\n*-1\r\n", false, 0, true, "SCAN"},
		"key that is nil":        {selected + "*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n", false, 0, true, "SCAN"},
		"absurd length of a key": {selected + "*2\r\n$1\r\n0\r\n*1\r\n$999999999999\r\nx", false, 0, false, "999999999999 bytes"},
		"absurd number of keys":  {selected + "*2\r\n$1\r\n0\r\n*999999999999\r\n", false, 0, true, "bad length"},
		"absurd value":           {selected + onePage + "$9999999999999\r\n", false, 0, true, "bad length"},
		"value too large, cut":   {selected + onePage + "$999999999\r\nxyz", false, 0, true, "connection lost"},
		"DUMP too short":         {selected + onePage + "$3\r\nabc\r\n:-1\r\n", false, 0, true, "footer"},
		"DUMP is a number":       {selected + onePage + ":1\r\n", false, 0, true, "DUMP"},
		"expiry is a string":     {selected + onePage + value + "$1\r\n5\r\n", false, 0, true, "PEXPIRETIME"},
		"TIME is odd":            {selected + onePage + value + "*2\r\n$2\r\n17\r\n$30\r\n", true, 0, false, "30 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sink, err := scanReplies([]byte(tc.replies), tc.pttl, false)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%d bytes of memory were taken", used)
			}
			if sink.records != tc.records {
				t.Errorf("%d records, want %d", sink.records, tc.records)
			}
			ok := tc.err == "" && name != "nothing"
			if ok != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
			if retry(err) != tc.retry {
				t.Errorf("retry: %v", retry(err))
			}
			if ok && sink.marks == 0 {
				t.Error("no mark at the end")
			}
		})
	}
}

const measured = "+hash\r\n$8\r\nlistpack\r\n:77\r\n"

func TestMeasureReplies(t *testing.T) {
	denied := "-NOPERM No permissions to access a key\r\n"
	for name, tc := range map[string]struct {
		replies string
		pttl    bool
		want    record.Record // without its key
		retry   bool
		err     string
	}{
		"a hash":        {measured + ":-1\r\n", false, record.Record{Type: 16, Measure: record.Measure{Bytes: 77, Type: "hash", Encoding: "listpack"}}, false, ""},
		"with expiry":   {measured + "*2\r\n$2\r\n17\r\n$1\r\n5\r\n:9\r\n", true, record.Record{Type: 16, ExpireAt: 17009, Measure: record.Measure{Bytes: 77, Type: "hash", Encoding: "listpack"}}, false, ""},
		"a module's":    {"+ReJSON-RL\r\n$3\r\nraw\r\n:9\r\n:-1\r\n", false, record.Record{Type: 7, Measure: record.Measure{Bytes: 9, Type: "ReJSON-RL", Encoding: "module"}}, false, ""},
		"gone":          {"+none\r\n$-1\r\n$-1\r\n:-2\r\n", false, record.Record{Fate: record.Gone}, false, ""},
		"gone in time":  {"+set\r\n$-1\r\n$-1\r\n:-2\r\n", false, record.Record{Fate: record.Gone}, false, ""},
		"no such key":   {"+set\r\n-ERR no such key\r\n$-1\r\n:-2\r\n", false, record.Record{Fate: record.Gone}, false, ""},
		"gone and back": {"+none\r\n$3\r\nraw\r\n:50\r\n:-1\r\n", false, record.Record{Fate: record.Gone}, false, ""},
		"not the user's": {denied + denied + denied + denied, false,
			record.Record{Fate: record.Refused, Reason: `the source answered "NOPERM No permissions to access a key" to TYPE`}, false, ""},
		"no right to MEMORY": {"+set\r\n$-1\r\n-NOPERM User x has no permissions to run the 'memory' command\r\n", false, record.Record{}, false, "NOPERM"},
		"loading":            {"+set\r\n-LOADING wait\r\n", false, record.Record{}, true, "LOADING"},
		"TYPE is a number":   {":1\r\n", false, record.Record{}, true, "TYPE"},
		"usage is a string":  {"+set\r\n$3\r\nraw\r\n$1\r\n5\r\n", false, record.Record{}, true, "MEMORY USAGE"},
		"usage is negative":  {"+set\r\n$3\r\nraw\r\n:-5\r\n", false, record.Record{}, true, "MEMORY USAGE"},
		"type is long":       {"+" + strings.Repeat("x", 200) + "\r\n", false, record.Record{}, true, "200 bytes"},
		"encoding is long":   {"+set\r\n$999\r\n", false, record.Record{}, true, "999 bytes"},
		"cut":                {"+set\r\n$3\r\nra", false, record.Record{}, true, "connection lost"},
	} {
		t.Run(name, func(t *testing.T) {
			sink, err := scanReplies([]byte(selected+onePage+tc.replies), tc.pttl, true)
			if (tc.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.err) || retry(err) != tc.retry {
				t.Errorf("got %v, want %q", err, tc.err)
			}
			sink.last.Key = nil
			if !reflect.DeepEqual(sink.last, tc.want) {
				t.Errorf("got %+v, want %+v", sink.last, tc.want)
			}
		})
	}
}

// TestWords makes sure that a server of endless words takes no memory for them.
func TestWords(t *testing.T) {
	p := &pipe{}
	for i := range 10_000 {
		if w := p.word(strconv.AppendInt(nil, int64(i), 10)); w != strconv.Itoa(i) {
			t.Fatalf("%q for %d", w, i)
		}
	}
	if len(p.words) > wordsKept {
		t.Errorf("%d words are kept", len(p.words))
	}
	b := []byte("listpack")
	p.word(b)
	if n := testing.AllocsPerRun(100, func() { p.word(b) }); n != 0 {
		t.Errorf("%v allocations for a known word", n)
	}
}

func TestDenied(t *testing.T) {
	_, err := scanReplies([]byte(selected+"-NOPERM User x has no permissions to run the 'scan' command\r\n"), false, false)
	if !errors.Is(err, ErrDenied) {
		t.Errorf("got %v", err)
	}
}

func TestModuleName(t *testing.T) {
	for value, want := range map[string]string{
		"":                      "",
		"\x05abcdefgh":          "",
		"\x81\x00\x00":          "",
		"\x81" + "\x43" + "abc": "",
	} {
		if got := moduleName([]byte(value)); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
	// Id and version of RedisJSON, as its values begin: "ReJSON-RL" in 6 bits a
	// letter, encoding version 3.
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var id uint64
	for _, c := range "ReJSON-RL" {
		id = id<<6 | uint64(strings.IndexRune(letters, c))
	}
	id = id<<10 | 3
	value := []byte{0x81}
	for shift := 56; shift >= 0; shift -= 8 {
		value = append(value, byte(id>>shift))
	}
	if got := moduleName(value); got != "ReJSON-RL" {
		t.Errorf("the name is %q", got)
	}
}

// FuzzReplies gives the scan whatever a server, or something else at its port,
// may say.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(selected+onePage+value+":-1\r\n"), false, false)
	f.Add([]byte(selected+onePage+value+"*2\r\n$2\r\n17\r\n$1\r\n5\r\n:9\r\n"), true, false)
	f.Add([]byte(selected+"*2\r\n$1\r\n5\r\n*0\r\n*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"+value+":1\r\n$-1\r\n:-2\r\n"), false, false)
	f.Add([]byte("-ERR x\r\n"), true, false)
	f.Add([]byte(selected+onePage+measured+":-1\r\n"), false, true)
	f.Add([]byte(selected+onePage+"+none\r\n$-1\r\n$-1\r\n*2\r\n$2\r\n17\r\n$1\r\n5\r\n:-2\r\n"), true, true)
	f.Fuzz(func(t *testing.T, data []byte, pttl, memory bool) {
		sink, err := scanReplies(data, pttl, memory)
		if err == nil && sink.marks == 0 {
			t.Error("ended without a mark")
		}
	})
}
