// Package dataset fills a server with keys of every kind that a migration meets,
// the same ones for the same seed, and compares a source with the cluster that
// its keys were carried to. It shares no code with the importer, which it judges.
package dataset

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	fillers    = 2    // connections that fill at the same time
	chunkKeys  = 1000 // keys that one of them takes at a time
	batchBytes = 1 << 20
	batchCmds  = 4000
)

// Options says what Fill writes. The mix of types is the benchmark's: 60 %
// strings, 20 % hashes, 8 % lists, 6 % sets, 5 % sorted sets, 1 % streams.
type Options struct {
	Keys   int
	Seed   int64
	DB     int    // on the client's server; the same names come in every database
	Prefix string // before each name

	HashTags   bool // a tenth of the names like user:{123}:cart:4567
	BinaryKeys bool // one name in 17 with NUL, spaces, %, CRLF, UTF-8 or not, odd braces; and one empty name
	Functions  bool // load a function library, where the server has functions
	NoExpiry   bool // else a tenth of the keys, and some fields of hashes where the server can, expire after 2099

	// StringBytes, if not 0, makes every key a string of that many bytes that
	// doesn't compress: no other type, no odd lengths.
	StringBytes int
}

// Mixed returns the options for a data set with everything in it.
func Mixed(keys int) Options {
	return Options{Keys: keys, Seed: 1, HashTags: true, BinaryKeys: true, Functions: true}
}

// Stats says what was written.
type Stats struct {
	Keys      int
	Types     map[string]int // as TYPE says it
	Expiring  int            // keys with an expiry
	FieldTTLs int            // hashes with fields that expire
	Functions int            // libraries
}

func (s *Stats) add(o Stats) {
	s.Keys += o.Keys
	s.Expiring += o.Expiring
	s.FieldTTLs += o.FieldTTLs
	for kind, n := range o.Types {
		s.Types[kind] += n
	}
}

// abilities are what a server knows beyond the oldest one.
type abilities struct {
	fieldTTL   bool // HPEXPIREAT and its like
	functions  bool
	expireTime bool // PEXPIRETIME, and ENTRIESADDED of XSETID, which came with it in 7.0
}

// doer is a server or a cluster.
type doer interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// Fill writes keys that don't exist yet (existing ones are not removed first,
// and may make a command fail) and returns what it wrote.
func Fill(ctx context.Context, client *redis.Client, o Options) (Stats, error) {
	options := *client.Options()
	options.DB = o.DB
	c := redis.NewClient(&options)
	defer func() { _ = c.Close() }()

	total := Stats{Types: map[string]int{}}
	able, err := probe(ctx, c)
	if err != nil {
		return total, fmt.Errorf("asking the server what it knows: %w", err)
	}
	if o.Functions && able.functions {
		if err := c.FunctionLoadReplace(ctx, library).Err(); err != nil {
			return total, fmt.Errorf("loading a function library: %w", err)
		}
		total.Functions = 1
	}
	var next atomic.Int64
	written := make([]Stats, fillers)
	g, ctx := errgroup.WithContext(ctx)
	for i := range written {
		f := newFiller(c, o, able)
		g.Go(func() error {
			err := f.run(ctx, &next)
			written[i] = f.stats
			return err
		})
	}
	err = g.Wait()
	for _, s := range written {
		total.add(s)
	}
	return total, err
}

const library = `#!lua name=slotferry_sample
redis.register_function('slotferry_answer', function(keys, args) return 42 end)
redis.register_function{function_name='slotferry_read', callback=function(keys, args)
  return redis.call('GET', keys[1])
end, flags={'no-writes'}}
`

func probe(ctx context.Context, d doer) (abilities, error) {
	reply, err := d.Do(ctx, "COMMAND", "INFO", "HPEXPIREAT", "FUNCTION", "PEXPIRETIME").Slice()
	if err != nil || len(reply) != 3 {
		return abilities{}, err
	}
	return abilities{fieldTTL: reply[0] != nil, functions: reply[1] != nil, expireTime: reply[2] != nil}, nil
}

// filler writes chunks of keys over its own pipeline.
type filler struct {
	client *redis.Client
	pipe   redis.Pipeliner
	o      Options
	able   abilities
	stats  Stats
	source *rand.PCG
	r      *rand.Rand
	queued int // bytes, about
}

func newFiller(c *redis.Client, o Options, able abilities) *filler {
	source := rand.NewPCG(0, 0)
	return &filler{
		client: c, pipe: c.Pipeline(), o: o, able: able, source: source, r: rand.New(source),
		stats: Stats{Types: map[string]int{}},
	}
}

func (f *filler) run(ctx context.Context, next *atomic.Int64) error {
	for {
		first := int(next.Add(chunkKeys)) - chunkKeys
		if first >= f.o.Keys {
			return f.flush(ctx)
		}
		for i := first; i < min(first+chunkKeys, f.o.Keys); i++ {
			f.key(ctx, i)
			if f.queued >= batchBytes || f.pipe.Len() >= batchCmds {
				if err := f.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
}

// key queues the commands of key i. Everything about it follows from the seed
// and i, whichever filler takes it.
func (f *filler) key(ctx context.Context, i int) {
	f.source.Seed(uint64(f.o.Seed), uint64(i))
	name := f.o.name(i)
	kind, j := kindOf(i)
	if f.o.StringBytes > 0 {
		kind = "string"
		f.do(ctx, "SET", name, f.random(f.o.StringBytes))
	} else {
		shapes[kind](f, ctx, name, j)
	}
	f.stats.Keys++
	f.stats.Types[kind]++
	if !f.o.NoExpiry && f.r.IntN(10) == 0 {
		f.do(ctx, "PEXPIREAT", name, f.expiry())
		f.stats.Expiring++
	}
}

// expiry returns an odd number of milliseconds after the year 2099.
func (f *filler) expiry() int64 { return 4102444800001 + 2*f.r.Int64N(1e12) }

func (f *filler) do(ctx context.Context, args ...any) {
	for _, a := range args {
		if s, ok := a.(string); ok {
			f.queued += len(s)
		}
		f.queued += 8
	}
	f.pipe.Do(ctx, args...)
}

func (f *filler) flush(ctx context.Context) error {
	cmds, err := f.pipe.Exec(ctx)
	f.queued = 0
	if err == nil {
		return nil
	}
	for _, cmd := range cmds {
		if cmd.Err() != nil && len(cmd.Args()) > 1 {
			return fmt.Errorf("filling: %v %q: %w", cmd.Args()[0], cmd.Args()[1], cmd.Err())
		}
	}
	return fmt.Errorf("filling: %w", err)
}

// oddNames hold what breaks programs that take keys for words; %d keeps them
// unique.
var oddNames = []string{
	"nul\x00byte:%d", "two words %d", "100%% %%s %%:%d", "line\r\nbreak:%d", "ключ-鍵-🔑:%d",
	"\xff\xfe\x80\xc3(:%d", "{}empty tag:%d", "{unclosed:%d", "}{backwards}:%d", "a{tag}{second}:%d", "q\"uo'te\\:%d",
	"*[a-z]?:%d", "$5\r\nhello\r\n:%d", "\t%d\n",
}

// emptyName is the key whose name is the prefix alone.
const emptyName = 37

func (o Options) name(i int) string {
	switch {
	case o.BinaryKeys && i == emptyName:
		return o.Prefix
	case o.BinaryKeys && i%17 == 5:
		return o.Prefix + fmt.Sprintf(oddNames[i/17%len(oddNames)], i)
	case o.HashTags && i%10 == 3:
		return fmt.Sprintf("%suser:{%d}:%s:%d", o.Prefix, i/50, []string{"cart", "profile", "orders"}[i%3], i)
	}
	return fmt.Sprintf("%skey:%08d", o.Prefix, i)
}

// kinds holds the mix as a hundred draws in a fixed, shuffled order, so that any
// hundred neighbours have all types.
var kinds, ordinals, shares = func() (kinds [100]string, ordinals [100]int, shares map[string]int) {
	i := 0
	for _, share := range []struct {
		kind string
		n    int
	}{{"string", 60}, {"hash", 20}, {"list", 8}, {"set", 6}, {"zset", 5}, {"stream", 1}} {
		for range share.n {
			kinds[i] = share.kind
			i++
		}
	}
	rand.New(rand.NewPCG(7, 7)).Shuffle(len(kinds), func(a, b int) { kinds[a], kinds[b] = kinds[b], kinds[a] })
	shares = map[string]int{}
	for i, kind := range kinds {
		ordinals[i] = shares[kind]
		shares[kind]++
	}
	return kinds, ordinals, shares
}()

// kindOf returns the type of key i and its number j among the keys of that type;
// j walks through the type's shapes, so that small sets have the rare ones too.
func kindOf(i int) (kind string, j int) {
	kind = kinds[i%100]
	return kind, i/100*shares[kind] + ordinals[i%100]
}

// Values are slices of two long strings: drawing every byte would take longer
// than the server takes to store it. They are made when they are first needed.
var material = sync.OnceValues(func() (randomBytes, words string) {
	r := rand.New(rand.NewPCG(11, 11))
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	vocabulary := strings.Fields("ferry slot lane harbour cargo anchor buoy tide captain the of and to in is")
	var text strings.Builder
	for text.Len() < 1<<18 {
		text.WriteString(vocabulary[r.IntN(len(vocabulary))] + " ")
	}
	return string(b), text.String()
})

// random returns n bytes that don't compress.
func (f *filler) random(n int) string {
	randomBytes, _ := material()
	if n >= len(randomBytes) {
		return strings.Repeat(randomBytes, n/len(randomBytes)) + randomBytes[:n%len(randomBytes)]
	}
	at := f.r.IntN(len(randomBytes) - n)
	return randomBytes[at : at+n]
}

// text returns n bytes that compress.
func (f *filler) text(n int) string {
	_, words := material()
	at := f.r.IntN(len(words) - n)
	return words[at : at+n]
}

// between draws from lo to hi, both included.
func (f *filler) between(lo, hi int) int { return lo + f.r.IntN(hi-lo+1) }
