package dataset

import (
	"context"
	"math"
	"strconv"
)

// shapes queue the commands that make the j-th key of a type.
var shapes = map[string]func(f *filler, ctx context.Context, name string, j int){
	"string": (*filler).stringKey, "hash": (*filler).hashKey, "list": (*filler).listKey,
	"set": (*filler).setKey, "zset": (*filler).zsetKey, "stream": (*filler).streamKey,
}

// oddStrings are stored in other ways than as their bytes, or nearly are.
var oddStrings = []string{
	"", "0", "-1", "127", "-32768", "65536", "2147483647", "-2147483648", "9223372036854775807",
	"-9223372036854775808", "9223372036854775808", "007", "3.14", " 1", "\x00", "\r\n",
}

func (f *filler) stringKey(ctx context.Context, name string, j int) {
	var v string
	switch {
	case j%20 == 7:
		v = oddStrings[j/20%len(oddStrings)]
	case j%10 == 3:
		v = strconv.FormatInt(f.r.Int64()>>f.r.IntN(63)-1000, 10)
	case j%600 == 599:
		v = f.text(64 << 10)
	case j%2 == 0:
		v = f.text(f.between(16, 512))
	default:
		v = f.random(f.between(16, 512))
	}
	f.do(ctx, "SET", name, v)
}

func (f *filler) hashKey(ctx context.Context, name string, j int) {
	fields, value := f.between(3, 24), func() string { return f.text(f.between(4, 60)) }
	switch {
	case j%100 == 13: // too many fields for one listpack
		fields = f.between(520, 700)
	case j%20 == 11: // a value too long for one
		value = func() string { return f.random(f.between(65, 120)) }
	case j%5 == 2: // integers
		value = func() string { return strconv.FormatInt(f.r.Int64()>>f.r.IntN(63), 10) }
	}
	args := []any{"HSET", name}
	for k := range fields {
		args = append(args, "field:"+strconv.Itoa(k), value())
	}
	f.do(ctx, args...)
	if f.able.fieldTTL && !f.o.NoExpiry && (j%10 == 1 || j%200 == 13) {
		f.do(ctx, "HPEXPIREAT", name, f.expiry(), "FIELDS", 2, "field:0", "field:2")
		f.stats.FieldTTLs++
	}
}

func (f *filler) listKey(ctx context.Context, name string, j int) {
	n, value := f.between(3, 60), func() string { return f.text(f.between(8, 60)) }
	switch {
	case j%100 == 5: // several nodes of 8 KiB
		n = f.between(500, 1000)
	case j%100 == 6: // nodes of one element each
		n, value = 3, func() string { return f.random(f.between(9000, 12000)) }
	case j%4 == 3:
		value = func() string { return strconv.Itoa(f.r.IntN(100000) - 50000) }
	}
	args := []any{"RPUSH", name}
	for range n {
		args = append(args, value())
	}
	f.do(ctx, args...)
}

func (f *filler) setKey(ctx context.Context, name string, j int) {
	args := []any{"SADD", name}
	switch {
	case j%100 == 4: // a large table
		for k := range f.between(600, 900) {
			args = append(args, "member:"+strconv.Itoa(k)+f.random(4))
		}
	case j%100 == 10: // a large intset, 64 bits wide
		for range 400 {
			args = append(args, f.r.Int64())
		}
	case j%3 == 0: // intsets of 16, 32 and 64 bits
		for k := range f.between(3, 30) {
			args = append(args, int64(k+1)<<(j/3%3*20))
		}
	case j%6 == 2: // members too long for a listpack
		for k := range f.between(3, 10) {
			args = append(args, strconv.Itoa(k)+f.text(80))
		}
	default:
		for k := range f.between(3, 20) {
			args = append(args, "m"+strconv.Itoa(k)+f.text(6))
		}
	}
	f.do(ctx, args...)
}

func (f *filler) zsetKey(ctx context.Context, name string, j int) {
	n, member := f.between(3, 20), func(k int) string { return "m" + strconv.Itoa(k) }
	switch {
	case j%100 == 3:
		n = f.between(300, 600)
	case j%20 == 1:
		member = func(k int) string { return strconv.Itoa(k) + f.text(80) }
	}
	odd := []string{"inf", "-inf", "0.1", "-1e300", "5e-324", "1.7976931348623157e308", "-0", "9007199254740993"}
	args := []any{"ZADD", name}
	for k := range n {
		var score string
		switch {
		case j%3 == 1 && k < len(odd):
			score = odd[k]
		case k%2 == 0:
			score = strconv.Itoa(f.r.IntN(1000) - 500)
		default:
			score = strconv.FormatFloat(math.Ldexp(f.r.Float64(), f.r.IntN(40)), 'g', -1, 64)
		}
		args = append(args, score, member(k))
	}
	f.do(ctx, args...)
}

// streamKey makes entries, and in three streams of four groups with consumers,
// pending, acknowledged and deleted entries, and identifiers set ahead.
func (f *filler) streamKey(ctx context.Context, name string, j int) {
	n := f.between(5, 40)
	if j%10 == 0 {
		n = f.between(250, 400) // several nodes
	}
	ids := make([]string, n)
	at := int64(1700000000000)
	for k := range ids {
		if k%3 == 0 {
			at += f.r.Int64N(100000) + 1
		}
		ids[k] = strconv.FormatInt(at, 10) + "-" + strconv.Itoa(k)
		args := []any{"XADD", name, ids[k], "kind", "event", "note", f.text(f.between(5, 40))}
		if k%7 == 6 { // other fields than the node's first entry has
			args = append(args, "extra", f.random(8))
		}
		f.do(ctx, args...)
	}
	if j%4 != 3 {
		f.do(ctx, "XGROUP", "CREATE", name, "workers", "0")
		f.do(ctx, "XGROUP", "CREATE", name, "late\x00comers", "$")
		f.do(ctx, "XREADGROUP", "GROUP", "workers", "ann", "COUNT", n/2, "STREAMS", name, ">")
		f.do(ctx, "XREADGROUP", "GROUP", "workers", "bob", "COUNT", 1, "STREAMS", name, ">")
		f.do(ctx, "XACK", name, "workers", ids[0], ids[1])
		f.do(ctx, "XCLAIM", name, "workers", "cleo", 0, ids[n/2-1], "RETRYCOUNT", 7)
	}
	if j%2 == 0 {
		f.do(ctx, "XDEL", name, ids[2], ids[n-1])
	}
	if j%4 == 0 {
		ahead := strconv.FormatInt(at+1e6, 10) + "-7"
		if f.able.expireTime {
			f.do(ctx, "XSETID", name, ahead, "ENTRIESADDED", n+1000, "MAXDELETEDID", ids[n-1])
		} else {
			f.do(ctx, "XSETID", name, ahead)
		}
	}
	if j%20 == 5 { // no entries left, but identifiers and groups
		f.do(ctx, "XTRIM", name, "MAXLEN", 0)
	}
}
