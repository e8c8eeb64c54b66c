package commands

import (
	"strings"

	"github.com/slotferry/slotferry/rdbparse"
)

var repeat = strings.Repeat

// everything is a target without gaps.
var everything = Target{FieldExpiry: true, CreateConsumer: true, StreamCounters: true, Idempotence: true}

// rareValues are what no server behind the fixtures writes.
var rareValues = map[string]serialized{
	"list":                    {typ: rdbparse.TypeList, body: []byte("\x04\x01a\xc0\x05\xc3\x04\x08\x00x\xa0\x00\x00")},
	"list of wide integers":   {typ: rdbparse.TypeList, body: []byte("\x05\xc0\x80\xc1\x00\x80\xc1\xff\x7f\xc2\x00\x00\x00\x80\xc2\xff\xff\xff\x7f")},
	"list with long elements": {typ: rdbparse.TypeList, body: []byte("\x04\x01a\x80\x00\x00\x01\x2c" + repeat("b", 300) + "\x01c\x01d")},
	"zset with text scores":   {typ: rdbparse.TypeZset, body: []byte("\x05\x01a\x031.5\x01b\xfe\x01c\xff\x01e\x130.10000000000000001\x01f\x174.9406564584124654e-324")},
	"zset of extremes": {typ: rdbparse.TypeZset2, body: []byte("\x05" +
		"\x01a\xff\xff\xff\xff\xff\xff\xef\x7f\x01b\x01\x00\x00\x00\x00\x00\x00\x00\x01c\x00\x00\x00\x00\x00\x00\xf0\x7f\x01d\x00\x00\x00\x00\x00\x00\xf0\xff\x01e\x9a\x99\x99\x99\x99\x99\xb9\x3f")},
	"zipmap":        {typ: rdbparse.TypeHashZipmap, body: []byte("\x0c\x01\x03foo\x03\x01bar.\xff")},
	"list ziplist":  {typ: rdbparse.TypeListZiplist, body: []byte("\x0f\x0f\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x02hi\xff")},
	"quicklist":     {typ: rdbparse.TypeQuicklist, body: []byte("\x02" + ziplist("\x02hi") + ziplist("\x01a", "\xf2"))},
	"zset ziplist":  {typ: rdbparse.TypeZsetZiplist, body: []byte(ziplist("\x02hi", "\xfe\x05", "\x02ho", "\x041e-2", "\x01i", "\x03inf"))},
	"hash ziplist":  {typ: rdbparse.TypeHashZiplist, body: []byte(ziplist("\x02hi", "\xfe\x05"))},
	"hash:ttl:list": {typ: rdbparse.TypeHashTTLRC, body: []byte("\x02\x00\x01a\x01b\x81\x00\x00\x04\x00\x00\x00\x00\x00\x01c\x01d")},
	"hash:ttl:pack": {typ: rdbparse.TypeHashLPTTLRC, body: []byte(listpack("\x81c", "\x81d", "\xf4\x00\x00\x00\x00\x00\x04\x00\x00", "\x81a", "\x81b", "\x00"))},
	"hash:ttl:past": {typ: rdbparse.TypeHashTTL, body: []byte("\xe8\x03\x00\x00\x00\x00\x00\x00\x03\x00\x01a\x01b\x01\x01c\x01d\x81\x00\x00\x04\x00\x00\x00\x00\x00\x01e\x01f")},
	"hash:ttl:valkey": {vendor: rdbparse.Valkey, typ: rdbparse.ValkeyHash2, body: []byte("\x03" +
		"\x01a\x01b\xff\xff\xff\xff\xff\xff\xff\xff\x01c\x01d\x00\x00\x00\x00\x00\x04\x00\x00\x01e\x01f\x01\x00\x00\x00\x00\x00\x00\x00")},
}

// ziplist is S of a ziplist of encoded elements.
func ziplist(elements ...string) string {
	var b strings.Builder
	before := 0
	for _, e := range elements {
		b.WriteByte(byte(before))
		b.WriteString(e)
		before = 1 + len(e)
	}
	total := 4 + 4 + 2 + b.Len() + 1
	return str(little(total) + little(total-1-before) + string([]byte{byte(len(elements)), 0}) + b.String() + "\xff")
}

// listpack is S of a listpack of encoded elements of fewer than 127 bytes.
func listpack(elements ...string) string {
	var b strings.Builder
	for _, e := range elements {
		b.WriteString(e)
		b.WriteByte(byte(len(e)))
	}
	return str(little(4+2+b.Len()+1) + string([]byte{byte(len(elements)), byte(len(elements) >> 8)}) + b.String() + "\xff")
}

func little(n int) string { return string([]byte{byte(n), byte(n >> 8), 0, 0}) }

// str is S of fewer than 16384 bytes.
func str(s string) string { return string([]byte{0x40 | byte(len(s)>>8), byte(len(s))}) + s }
