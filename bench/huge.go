package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// The goals for one huge value.
const (
	hugeMemory  = "256MiB"
	hugePeak    = 256 << 20
	hugeSilence = time.Second // of a master to others
	hugeLimit   = "1gb"       // proto-max-bulk-len where it is raised
)

// huge is one value that does not fit into memory.
type huge struct {
	about   string
	fill    func(ctx context.Context, c *redis.Client, key string, n int) error
	n       int  // elements, or bytes of a string
	raised  bool // the source's proto-max-bulk-len
	tooLong bool // the target's is not: the key must fail, by name
}

var hugeValues = []huge{
	{about: "string of 400 MB that LZF shrinks", fill: fillString, n: 400e6},
	{about: "string of 400 MB that it does not", fill: fillNoise, n: 400e6},
	{about: "string of 600 MB, both sides raised", fill: fillString, n: 600e6, raised: true},
	{about: "string of 600 MB, target not raised", fill: fillString, n: 600e6, raised: true, tooLong: true},
	{about: "hash of 5 M fields", fill: fillHash, n: 5e6},
	{about: "list of 5 M elements", fill: fillList, n: 5e6},
	{about: "sorted set of 2 M members", fill: fillZset, n: 2e6},
	{about: "set of 2 M members", fill: fillSet, n: 2e6},
	{about: "stream of 1 M entries with 3 groups", fill: fillStream, n: 1e6},
}

// shortHuge is what --short makes of n.
const shortHuge = 1000

// hugeResult is what the import of one huge value took.
type hugeResult struct {
	huge
	via     string
	usage   usage
	silence time.Duration // the longest PING of any master meanwhile
	dump    int64         // bytes of the value's DUMP; 0 if it was refused
}

// measureHuge imports each huge value from a file and from a live server.
func (b *bench) measureHuge(ctx context.Context) ([]hugeResult, error) {
	var results []hugeResult
	for _, h := range hugeValues {
		if b.options.short {
			h.n = shortHuge
			if h.tooLong {
				continue
			}
		}
		some, err := b.measureOne(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.about, err)
		}
		results = append(results, some...)
	}
	return results, nil
}

const hugeKey = "huge:{one}"

func (b *bench) measureOne(ctx context.Context, h huge) ([]hugeResult, error) {
	dir, err := os.MkdirTemp(b.dir, "huge-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	args := []string{"--save", ""}
	if h.raised {
		args = append(args, "--proto-max-bulk-len", hugeLimit)
	}
	server, err := sandbox.Start(ctx, sandbox.Options{Dir: dir, Password: sourcePassword, Args: args})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	say("huge: filling a %s", h.about)
	if err := h.fill(ctx, server.Client(), hugeKey, h.n); err != nil {
		return nil, fmt.Errorf("filling: %w", err)
	}
	if err := server.Client().Set(ctx, "small", "one", 0).Err(); err != nil {
		return nil, err
	}
	src := &source{server: server, keys: 2}
	if src.rdb, err = server.Save(ctx); err != nil {
		return nil, err
	}
	limit := "512mb"
	if h.raised && !h.tooLong {
		limit = hugeLimit
	}
	for _, n := range b.target.cluster.Nodes {
		if err := n.Client().ConfigSet(ctx, "proto-max-bulk-len", limit).Err(); err != nil {
			return nil, err
		}
	}
	var results []hugeResult
	for _, via := range b.options.sources {
		r, err := b.carryHuge(ctx, h, direct(via, src, b.target), server)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", via, err)
		}
		say("huge: %s, %s: %.1f s, %s MiB at most, a master was silent for %s at most", h.about, via, r.usage.wall.Seconds(), mebibytes(r.usage.peak), r.silence.Round(time.Millisecond))
		results = append(results, r)
	}
	return results, nil
}

// carryHuge imports over an old value, which readers must see until the new one
// is whole, and compares.
func (b *bench) carryHuge(ctx context.Context, h huge, e ends, server *sandbox.Server) (r hugeResult, err error) {
	r = hugeResult{huge: h, via: viaRDB}
	if e.live {
		r.via = viaScan
	}
	if err := b.empty(ctx); err != nil {
		return r, err
	}
	owner := b.target.cluster.Nodes[max(0, b.target.table.Index(route.Slot([]byte(hugeKey))))].Client()
	if err := owner.Set(ctx, hugeKey, "old", 0).Err(); err != nil {
		return r, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	half := make(chan error, 1)
	go func() { half <- watchOld(watching, owner) }()
	silence := b.silence(watching)
	args := append([]string{"import", "--checkpoint", "none", "--on-exists", "replace", "--memory", hugeMemory, "--output", "json"}, b.tool.arguments(e)...)
	var stdout []byte
	r.usage, stdout, err = b.tool.run(ctx, args)
	stop()
	r.silence = silence()
	if err := <-half; err != nil {
		return r, err
	}
	if h.tooLong {
		if err == nil || !bytes.Contains(stdout, []byte(hugeKey)) && !strings.Contains(err.Error(), hugeKey) {
			return r, fmt.Errorf("it should have failed by name: %w", err)
		}
		return r, owner.Get(ctx, hugeKey).Err()
	}
	if err != nil {
		return r, err
	}
	s, err := lastLine[summary](stdout)
	if err != nil {
		return r, err
	}
	held, err := b.target.keys(ctx)
	if err == nil {
		err = s.check(2, held)
	}
	if err != nil {
		return r, err
	}
	r.dump, err = sameValue(ctx, server.Client(), owner)
	return r, err
}

// watchOld looks at the key again and again: it has the old value, and then the
// whole new one at once, of which the size does not change any more.
func watchOld(ctx context.Context, c *redis.Client) error {
	old, last := true, int64(-1)
	for ctx.Err() == nil {
		size, isOld, err := sizeOf(ctx, c)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			return fmt.Errorf("a reader: %w", err)
		case isOld && !old:
			return errors.New("the old value came back")
		case !isOld && last >= 0 && size != last:
			return fmt.Errorf("a reader saw %d elements, then %d", last, size)
		case !isOld:
			old, last = false, size
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

func sizeOf(ctx context.Context, c *redis.Client) (size int64, old bool, err error) {
	kind, err := c.Type(ctx, hugeKey).Result()
	if err != nil {
		return 0, false, err
	}
	command := map[string]string{"string": "STRLEN", "hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "stream": "XLEN"}[kind]
	if command == "" {
		return 0, false, fmt.Errorf("the key is of type %s", kind)
	}
	size, err = c.Do(ctx, command, hugeKey).Int64()
	if err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") { // replaced between the two questions
		return sizeOf(ctx, c)
	}
	return size, kind == "string" && size == int64(len("old")), err
}

// silence asks all masters again and again until ctx ends; the function that it
// returns gives the longest that one took to answer.
func (b *bench) silence(ctx context.Context) func() time.Duration {
	var longest atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, n := range b.target.cluster.Nodes {
				begun := time.Now()
				if n.Client().WithTimeout(time.Minute).Ping(ctx).Err() == nil {
					longest.Store(max(longest.Load(), int64(time.Since(begun))))
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() time.Duration {
		<-done
		return time.Duration(longest.Load())
	}
}

// sameValue compares the value on both sides and returns the length of its DUMP.
func sameValue(ctx context.Context, source, target *redis.Client) (int64, error) {
	const patience = 5 * time.Minute
	var values [2]*decode.Value
	var length int64
	for i, c := range []*redis.Client{source, target} {
		dump, err := c.WithTimeout(patience).Dump(ctx, hugeKey).Result()
		if err != nil {
			return 0, err
		}
		length = max(length, int64(len(dump)))
		if values[i], err = decode.Decode(rdbparse.Redis, dump[0], []byte(dump[1:len(dump)-10])); err != nil {
			return 0, err
		}
	}
	if d := decode.Difference(values[0], values[1]); d != "" {
		return 0, fmt.Errorf("the value differs: %s", d)
	}
	return length, nil
}
