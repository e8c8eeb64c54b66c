package target

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// dumped returns a key of a server as a live source yields it.
func dumped(t *testing.T, c *redis.Client, key string) *record.Record {
	t.Helper()
	payload, err := c.Dump(t.Context(), key).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	left, err := c.PTTL(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	if left > 0 { // servers before 7.0 don't tell when
		at = time.Now().Add(left).UnixMilli()
		if exact, err := c.Do(t.Context(), "PEXPIRETIME", key).Int64(); err == nil {
			at = exact
		}
	}
	footer := len(payload) - footerBytes
	return &record.Record{Key: []byte(key), Type: payload[0], Value: payload[1:footer], Footer: payload[footer:], ExpireAt: at}
}

// long values of all types, each of more than one transaction.
func fillLong(t *testing.T, c *redis.Client) {
	t.Helper()
	const script = `
		local word = string.rep('w', 100)
		for i = 1, 4000 do
			redis.call('RPUSH', 'long:list', word .. i)
			redis.call('SADD', 'long:set', word .. i)
			redis.call('ZADD', 'long:zset', i / 7, word .. i)
			redis.call('HSET', 'long:hash', word .. i, i)
			redis.call('XADD', 'long:stream', i .. '-1', 'f', word .. i)
		end
		redis.call('XGROUP', 'CREATE', 'long:stream', 'g', '0')
		redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 1000, 'STREAMS', 'long:stream', '>')
		redis.call('XGROUP', 'CREATE', 'short:stream', 'g', '7-7', 'MKSTREAM')
		redis.call('SET', 'long:string', string.rep('0123456789', 300000))
		redis.call('PEXPIREAT', 'long:set', 4102444812345)
		redis.call('PEXPIREAT', 'long:stream', 4102444812346)`
	if err := c.Eval(t.Context(), script, nil).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
}

// noTemps fails if a temporary key is left.
func noTemps(t *testing.T, nodes *sandbox.Cluster) {
	t.Helper()
	masters, err := nodes.Masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range masters {
		names, _, err := m.Client().Scan(t.Context(), 0, checkpoint.TempPrefix+"*", 1_000_000).Result()
		if err != nil || len(names) > 0 {
			t.Errorf("%q are left on %s, %v", names, m.Addr, err)
		}
	}
}

// everyType sends all keys of a server, and compares.
func everyType(t *testing.T, source *redis.Client, nodes *sandbox.Cluster, o Options) *sending {
	t.Helper()
	keys := source.Keys(t.Context(), "*").Val()
	s := begin(t, nodes, o)
	for i, key := range keys {
		r := dumped(t, source, key)
		r.Owned = i%10 == 0
		s.must(s.record(r))
	}
	if err := s.ended(); err != nil {
		t.Fatal(err)
	}
	s.balanced()
	for _, f := range s.counts(len(keys), 0) {
		t.Errorf("%q: %s", f.Key, f.Reason)
	}
	report, err := dataset.Compare(t.Context(), source, nodes.Client(), dataset.CompareOptions{IgnoreConsumerTimes: true})
	if err != nil || !report.OK() || report.Compared != len(keys) {
		t.Errorf("%v, %v", report, err)
	}
	noTemps(t, nodes)
	return s
}

func TestRebuild(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{})
	source := sandboxtest.Server(t, sandbox.Options{}).Client()
	if _, err := dataset.Fill(t.Context(), source, dataset.Mixed(1500)); err != nil {
		t.Fatal(err)
	}
	for _, key := range source.Keys(t.Context(), "*").Val() { // whose deleted entries are pending, which servers from 7.0 on don't take
		if source.Type(t.Context(), key).Val() == "stream" {
			source.Del(t.Context(), key)
		}
	}
	fillLong(t, source)
	keys := source.DBSize(t.Context()).Val()

	t.Run("every type", func(t *testing.T) {
		empty(t, nodes)
		o := options(nodes)
		o.MaxCommand = 1
		s := everyType(t, source, nodes, o)
		if n := s.c.Retries().Rebuilt; n != keys {
			t.Errorf("%d of %d values were rebuilt", n, keys)
		}
	})
}

var _ = fmt.Sprint
var _ = strconv.Itoa
var _ = strings.Repeat
var _ = context.Background
var _ = route.Slots
var _ = rdbparse.Redis
