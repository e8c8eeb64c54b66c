package effect

// maxName is the longest name that is looked for, in bytes.
const maxName = 64

// command is one line of the table.
type command struct {
	name string
	kind Kind
	min  int // words it has at least

	// Its keys, if they stand in fixed places: the first, the last (from the end if
	// negative), and the step from one to the next. No first: none there.
	first, last, step int

	// read, if not nil, adds what the fixed places don't tell. It returns false for
	// a command that no server takes.
	read func(words [][]byte, e *Effect) bool
}

// commands is what servers have built in. The least number of words is that of
// the version that asks for the fewest.
var commands = table(
	// one key
	write("APPEND", 3), write("BITFIELD", 2), write("DECR", 2), write("DECRBY", 3), write("GETDEL", 2),
	write("GETSET", 3), write("INCR", 2), write("INCRBY", 3), write("INCRBYFLOAT", 3), write("PERSIST", 2),
	write("SETBIT", 4), write("SETNX", 3), write("SETRANGE", 4), write("DELEX", 2), write("DELIFEQ", 3),
	write("GEOADD", 5), write("PFADD", 2),
	write("HDEL", 3), write("HGETDEL", 5), write("HINCRBY", 4), write("HINCRBYFLOAT", 4), write("HMSET", 4),
	write("HPERSIST", 5), write("HSET", 4), write("HSETNX", 4),
	write("LINSERT", 5), write("LPOP", 2), write("LPUSH", 3), write("LPUSHX", 3), write("LREM", 4), write("LSET", 4),
	write("LTRIM", 4), write("RPOP", 2), write("RPUSH", 3), write("RPUSHX", 3),
	write("SADD", 3), write("SPOP", 2), write("SREM", 3),
	write("VADD", 5), write("VREM", 3), write("VSETATTR", 4),
	write("XACK", 4), write("XACKDEL", 6), write("XADD", 5), write("XAUTOCLAIM", 6), write("XCFGSET", 2),
	write("XCLAIM", 6), write("XDEL", 3), write("XDELEX", 5), write("XIDMPRECORD", 5), write("XSETID", 3), write("XTRIM", 2),
	write("ZADD", 4), write("ZINCRBY", 4), write("ZPOPMAX", 2), write("ZPOPMIN", 2), write("ZREM", 3),
	write("ZREMRANGEBYLEX", 4), write("ZREMRANGEBYRANK", 4), write("ZREMRANGEBYSCORE", 4),
	// Its cache of the count is part of the value, so that it is replicated.
	&command{name: "PFCOUNT", kind: Write, min: 2, first: 1, last: -1, step: 1},
	&command{name: "PFDEBUG", kind: Write, min: 3, first: 2, last: 2, step: 1},
	&command{name: "XGROUP", kind: Write, min: 2, read: readGroup},

	// one key, and an expiry
	with(write("EXPIRE", 3), readExpire), with(write("EXPIREAT", 3), readExpire),
	with(write("PEXPIRE", 3), readExpire), with(write("PEXPIREAT", 3), readExpire),
	with(write("SETEX", 4), readSetEX), with(write("PSETEX", 4), readSetEX),
	with(write("SET", 3), readSet), with(write("GETEX", 2), readGetEX),
	with(write("RESTORE", 4), readRestore), with(write("RESTORE-ASKING", 4), readRestore),
	with(write("HEXPIRE", 6), readExpire), with(write("HEXPIREAT", 6), readExpire),
	with(write("HPEXPIRE", 6), readExpire), with(write("HPEXPIREAT", 6), readExpire),
	with(write("HSETEX", 6), readFieldsEX), with(write("HGETEX", 5), readFieldsEX),

	// several keys in fixed places
	fixed("BITOP", 4, 2, -1), fixed("BLMOVE", 6, 1, 2), fixed("BLPOP", 3, 1, -2), fixed("BRPOP", 3, 1, -2),
	fixed("BRPOPLPUSH", 4, 1, 2), fixed("BZPOPMAX", 3, 1, -2), fixed("BZPOPMIN", 3, 1, -2),
	fixed("GEOSEARCHSTORE", 8, 1, 2), fixed("LMOVE", 5, 1, 2), fixed("PFMERGE", 2, 1, -1), fixed("RENAME", 3, 1, 2),
	fixed("RENAMENX", 3, 1, 2), fixed("RPOPLPUSH", 3, 1, 2), fixed("SDIFFSTORE", 3, 1, -1),
	fixed("SINTERSTORE", 3, 1, -1), fixed("SUNIONSTORE", 3, 1, -1), fixed("SMOVE", 4, 1, 2), fixed("ZRANGESTORE", 5, 1, 2),
	&command{name: "MSETNX", kind: Write, min: 3, first: 1, last: -1, step: 2},
	with(fixed("COPY", 3, 1, 2), readCopy),
	with(write("MOVE", 3), readMove),

	// several keys that stand alone
	split("DEL", 2, 1, true), split("UNLINK", 2, 1, true), split("TOUCH", 2, 1, false), split("MSET", 3, 2, true),

	// keys whose places have to be looked for
	&command{name: "MSETEX", kind: Write, min: 4, read: readMSetEX},
	with(write("ZDIFFSTORE", 4), readStore), with(write("ZINTERSTORE", 4), readStore), with(write("ZUNIONSTORE", 4), readStore),
	&command{name: "LMPOP", kind: Write, min: 4, read: counted(1)}, &command{name: "BLMPOP", kind: Write, min: 5, read: counted(2)},
	&command{name: "ZMPOP", kind: Write, min: 4, read: counted(1)}, &command{name: "BZMPOP", kind: Write, min: 5, read: counted(2)},
	&command{name: "XREADGROUP", kind: Write, min: 7, read: readReadGroup},
	with(write("SORT", 2), readSort),
	with(write("GEORADIUS", 6), readRadius(6)), with(write("GEORADIUSBYMEMBER", 5), readRadius(5)),
	&command{name: "MIGRATE", kind: Write, min: 6, read: readMigrate},

	// code
	&command{name: "EVAL", kind: Script, min: 3, read: counted(2)}, &command{name: "EVALSHA", kind: Script, min: 3, read: counted(2)},
	&command{name: "FCALL", kind: Script, min: 3, read: counted(2)},
	&command{name: "FUNCTION", kind: Program, min: 2, read: readProgram("LOAD", "DELETE", "FLUSH", "RESTORE")},
	&command{name: "SCRIPT", kind: Program, min: 2, read: readProgram("LOAD", "FLUSH")},

	// the databases
	&command{name: "MULTI", kind: Begin, min: 1}, &command{name: "EXEC", kind: Commit, min: 1},
	&command{name: "SELECT", kind: Select, min: 2, read: readSelect},
	&command{name: "FLUSHALL", kind: Flush, min: 1, read: func(_ [][]byte, e *Effect) bool { e.DB = AllDBs; return true }},
	&command{name: "FLUSHDB", kind: Flush, min: 1},
	&command{name: "SWAPDB", kind: Swap, min: 3, read: readSwap},

	// what a master says to its replicas, and subscribers hear
	&command{name: "PING", kind: Nothing, min: 1}, &command{name: "REPLCONF", kind: Nothing, min: 1},
	&command{name: "PUBLISH", kind: Nothing, min: 3}, &command{name: "SPUBLISH", kind: Nothing, min: 3},
	&command{name: "OPINFO", kind: Nothing, min: 1},
)

func table(lines ...*command) map[string]*command {
	t := make(map[string]*command, len(lines))
	for _, c := range lines {
		t[c.name] = c
	}
	return t
}

func write(name string, min int) *command { return fixed(name, min, 1, 1) }

func fixed(name string, min, first, last int) *command {
	return &command{name: name, kind: Write, min: min, first: first, last: last, step: 1}
}

func split(name string, min, step int, blind bool) *command {
	c := &command{name: name, kind: Split, min: min, first: 1, last: -1, step: step}
	c.read = func(_ [][]byte, e *Effect) bool {
		e.Step, e.Blind = step, blind
		return true
	}
	return c
}

func with(c *command, read func([][]byte, *Effect) bool) *command {
	c.read = read
	return c
}

// simpleKeys adds the keys in fixed places.
func (c *command) simpleKeys(words [][]byte, e *Effect) bool {
	if c.first <= 0 {
		return true
	}
	last, step := c.last, max(c.step, 1)
	if last < 0 {
		last += len(words)
	}
	if last < c.first || last >= len(words) {
		return false
	}
	if c.last == -1 && step > 1 && (len(words)-c.first)%step != 0 {
		return false
	}
	for i := c.first; i <= last; i += step {
		e.Keys = append(e.Keys, i)
	}
	return true
}
