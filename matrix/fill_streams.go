package main

import "fmt"

// streams makes streams with all that their generation can hold: groups,
// consumers, pending entries, some of which were deleted, entries of other
// fields, identifiers set ahead, and streams without entries.
func (f *filler) streams() {
	f.busyStream()
	plain := f.next()
	f.do("XADD", plain, "1-1", "a", "b")
	f.do("XADD", plain, "1-2", "c", "", "a", f.random(50))
	f.do("XGROUP", "CREATE", f.next(), "only a group", "$", "MKSTREAM")
	emptied := f.next()
	f.do("XADD", emptied, "5-5", "a", "b")
	f.do("XADD", emptied, "6-0", "a", "b")
	f.do("XGROUP", "CREATE", emptied, "g", "5-5")
	f.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", emptied, ">")
	f.do("XDEL", emptied, "5-5", "6-0")
	f.expire(emptied)
	ahead := f.next()
	f.do("XADD", ahead, "7-7", "a", "b")
	if f.able.functions { // as old as these arguments: 7.0
		f.do("XSETID", ahead, "9-9", "ENTRIESADDED", 100, "MAXDELETEDID", "8-8")
	} else {
		f.do("XSETID", ahead, "9-9")
	}
}

func (f *filler) busyStream() {
	key := f.next()
	for i := range 150 {
		args := []any{"XADD", key, fmt.Sprintf("%d-%d", 1700000000000+i*1000, i), "field", i, "text", fmt.Sprint("value ", i)}
		if i%7 == 6 {
			args = append(args, "extra", f.random(8))
		}
		f.do(args...)
	}
	f.do("XDEL", key, "1700000005000-5", "1700000140000-140")
	f.do("XGROUP", "CREATE", key, "readers", "0")
	f.do("XGROUP", "CREATE", key, "late\x00comers", "$")
	f.do("XGROUP", "CREATE", key, "idle", "0")
	f.do("XREADGROUP", "GROUP", "readers", "alice", "COUNT", 5, "STREAMS", key, ">")
	f.do("XREADGROUP", "GROUP", "readers", "bob", "COUNT", 3, "STREAMS", key, ">")
	f.do("XACK", key, "readers", "1700000001000-1", "1700000006000-6")
	f.do("XCLAIM", key, "readers", "cleo", 0, "1700000003000-3", "RETRYCOUNT", 7)
	f.do("XDEL", key, "1700000002000-2") // which is pending
	if f.able.functions {
		f.do("XGROUP", "CREATECONSUMER", key, "idle", "nothing read")
	}
	f.expire(key)
}

// producers makes streams that remember their producers' identifiers.
func (f *filler) producers() {
	if !f.able.producers {
		return
	}
	for range 2 {
		key := f.next()
		f.do("XADD", key, "*", "f", "without a producer")
		f.do("XCFGSET", key, "IDMP-DURATION", 86400) // not to be forgotten while this runs
		for _, id := range []string{"i1", "i2", "i1"} {
			f.do("XADD", key, "IDMP", "producer", id, "*", "f", id)
		}
		f.do("XADD", key, "IDMPAUTO", "other", "*", "f", "v")
		f.do("XGROUP", "CREATE", key, "g", "0")
		f.do("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", key, ">")
		if f.n == 2 {
			f.expire(key)
		}
	}
}
