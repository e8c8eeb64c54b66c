package scan

import (
	"bytes"
	"context"
	"testing"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/resp"
)

// buildReplies makes a value of whatever is answered.
func buildReplies(data []byte, read func(b *builder) error) (emitted int, err error) {
	keys, err := choice.New(choice.Options{})
	if err != nil {
		return 0, err
	}
	s := New(Options{Choice: keys, MaxValue: 1 << 20})
	defer s.Close()
	conn := replies{Reader: bytes.NewReader(data)}
	p := &pipe{ctx: context.Background(), conn: conn, r: resp.NewReader(conn, 0, nil), source: s, flight: &flight{count: 1000}}
	p.r.SetMaxBulk(1 << 40)
	b := &builder{pipe: p, key: []byte("k"), name: []byte("n"), emit: func(words [][]byte) error { emitted += len(words); return nil }}
	if read != nil {
		return emitted, read(b)
	}
	_, err = b.build()
	return emitted, err
}

const watched = "+OK\r\n"

// FuzzBuild gives the reading of parts whatever a server may say.
func FuzzBuild(f *testing.F) {
	end := "+OK\r\n*0\r\n+x\r\n"
	for _, answers := range []string{
		"+string\r\n:-1\r\n$2\r\nab\r\n$0\r\n\r\n" + end,
		"+list\r\n:5000000000000\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n" + end,
		"+set\r\n:-1\r\n*2\r\n$1\r\n7\r\n*1\r\n$1\r\na\r\n*2\r\n$1\r\n0\r\n*0\r\n" + end,
		"+zset\r\n:-1\r\n*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$3\r\n1.5\r\n" + end,
		"+hash\r\n:-1\r\n$24\r\n# Keyspace\r\ndb0:keys=1\r\n\r\n*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n" + end,
		"+hash\r\n:-1\r\n$0\r\n\r\n*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n" + end,
		"+list\r\n:-1\r\n*9\r\n$999999999999\r\n",
		"+none\r\n:-2\r\n",
		"+list\r\n:-1\r\n-WRONGTYPE x\r\n",
	} {
		f.Add([]byte(watched+answers), uint8(0))
	}
	f.Add([]byte("*6\r\n$17\r\nlast-generated-id\r\n$3\r\n1-1\r\n$6\r\ngroups\r\n:1\r\n$11\r\nfirst-entry\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"+
		"*1\r\n*6\r\n$4\r\nname\r\n$1\r\ng\r\n$7\r\npending\r\n:1\r\n$17\r\nlast-delivered-id\r\n$3\r\n1-1\r\n"), uint8(1))
	f.Add([]byte("*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$2\r\n17\r\n$1\r\n5\r\n*1\r\n*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:5\r\n:1\r\n"), uint8(2))
	f.Add([]byte("*2\r\n$2\r\n17\r\n$1\r\n5\r\n*1\r\n*4\r\n$3\r\n0-1\r\n$1\r\nc\r\n:5\r\n:1\r\n"), uint8(3))
	f.Add([]byte("*2\r\n:-1\r\n:77\r\n"), uint8(4))
	reads := []func(b *builder) error{
		nil,
		func(b *builder) error { _, err := b.streamInfo(); return err },
		func(b *builder) error { return b.entries(newPending(b, &stream{})) },
		func(b *builder) error {
			return newPending(b, &stream{groups: []*group{{name: []byte("g"), pending: []byte("1")}}}).finish()
		},
		func(b *builder) error { return b.expireFields([][]byte{{1}, {2}, {3}, {4}}) },
	}
	f.Fuzz(func(t *testing.T, data []byte, what uint8) {
		emitted, err := buildReplies(data, reads[int(what)%len(reads)])
		if err == nil && emitted > 50*len(data)+1000 {
			t.Errorf("%d words of %d bytes", emitted, len(data))
		}
	})
}
