package tail

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/redis/go-redis/v9"
)

// load writes a random mixture of commands to the source, of which none may be
// applied twice or left out without a trace.
type load struct {
	r    *rand.Rand
	keys int
	pipe redis.Pipeliner
	ctx  context.Context
}

func (l *load) do(words ...any) { l.pipe.Do(l.ctx, words...) }

// key names a key of a kind; some share a slot with others of all kinds.
func (l *load) key(kind string) string {
	i := l.r.IntN(l.keys)
	if i%3 == 0 {
		return fmt.Sprintf("%s:{%d}", kind, i/6)
	}
	return fmt.Sprintf("%s:%d", kind, i)
}

func (l *load) word() string { return fmt.Sprintf("m%d", l.r.IntN(20)) }

func (l *load) one() {
	n := l.r.IntN(100)
	switch l.r.IntN(28) {
	case 0, 1, 2:
		l.do("INCR", l.key("count"))
	case 3, 4:
		l.do("APPEND", l.key("text"), l.word())
	case 5:
		l.do("LPUSH", l.key("list"), l.word(), l.word())
	case 6:
		l.do("RPOP", l.key("list"))
	case 7:
		l.do("XADD", l.key("stream"), "MAXLEN", "~", "50", "*", l.word(), n)
	case 8:
		l.do("SADD", l.key("set"), l.word(), l.word(), l.word())
	case 9:
		l.do("SPOP", l.key("set"))
	case 10:
		l.do("EXPIRE", l.key("count"), 10000+n)
	case 11:
		l.do("HINCRBYFLOAT", l.key("hash"), l.word(), "1.25")
	case 12:
		l.do("SETRANGE", l.key("text"), n, l.word())
	case 13:
		l.do("COPY", l.key("list"), l.key("list"), "REPLACE")
	case 14:
		l.do("RENAME", l.key("set"), l.key("set"))
	case 15:
		l.do("SMOVE", l.key("set"), l.key("set"), l.word())
	case 16:
		l.do("ZUNIONSTORE", l.key("zset"), 2, l.key("zset"), l.key("set"))
	case 17:
		l.do("ZINCRBY", l.key("zset"), n, l.word())
	case 18:
		l.do("DEL", l.key("count"), l.key("list"), l.key("hash"))
	case 19:
		l.do("MSET", l.key("text"), l.word(), l.key("text"), l.word())
	case 20:
		l.do("LMOVE", l.key("list"), l.key("list"), "LEFT", "RIGHT")
	case 21:
		l.do("SET", l.key("count"), n, "EX", 20000)
	case 22:
		l.do("HDEL", l.key("hash"), l.word())
	case 23:
		l.do("PFADD", l.key("hll"), l.word())
	case 24:
		l.do("PFMERGE", l.key("hll"), l.key("hll"))
	case 25:
		l.do("PERSIST", l.key("count"))
	case 26:
		l.do("EVAL", "redis.call('INCR', KEYS[1]); return redis.call('APPEND', KEYS[2], 'x')", 2, l.key("count"), l.key("text"))
	case 27:
		tag := fmt.Sprintf("{%d}", n%5)
		l.do("MULTI")
		l.do("INCR", "count:"+tag)
		l.do("LPUSH", "list:"+tag, n)
		if n%2 == 0 {
			l.do("INCR", l.key("count"))
		}
		l.do("EXEC")
	}
}

// write runs n of these on the source, on one connection.
func (r *rig) write(t testing.TB, seed uint64, n, keys int) {
	t.Helper()
	conn := r.source.Client().Conn()
	defer func() { _ = conn.Close() }()
	l := &load{r: rand.New(rand.NewPCG(seed, 1)), keys: keys, ctx: t.Context()}
	for n > 0 {
		l.pipe = conn.Pipeline()
		for range min(n, 500) {
			l.one()
		}
		n -= 500
		_, _ = l.pipe.Exec(t.Context()) // some of them find no key, or one of another type
	}
}
