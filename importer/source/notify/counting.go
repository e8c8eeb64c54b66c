package notify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
)

// What INFO commandstats names the commands that touch keys without telling
// which: those after which nothing is known, and those that touch keys of one
// type only, by that type; in small letters, which modules don't care for. VREM
// deletes a key with its last element, so that no SCAN finds it. Seen on Redis
// 6.0 to 8.6 and Valkey 8.0 to 9.1.
var (
	sweeping = []string{"flushall", "flushdb", "swapdb"}
	silent   = map[string]string{
		"xreadgroup": "stream", "xack": "stream", "xclaim": "stream", "xautoclaim": "stream", "xackdel": "stream",
		"xcfgset": "stream", "xidmprecord": "stream",
		"vadd": "vectorset", "vsetattr": "vectorset", "vrem": anything,
	}
)

// anything stands for no type: all keys are to be read anew.
const anything = ""

const (
	sweepEvery = 30 * time.Second // that keys of a type are looked for, which takes a SCAN of all
	sweepCount = 1000
)

// counting is what the server has counted, as far as it was looked at.
type counting struct {
	mu    sync.Mutex
	last  tally
	swept map[string]int64 // by type: calls of silent commands that are done with
	at    time.Time        // of the last sweep
}

// tally is one look at the server's own counts.
type tally struct {
	commands int64            // all that were run; it falls when counts begin anew
	flushes  int64            // calls of sweeping commands
	silent   map[string]int64 // calls by type
	replica  bool
	history  string // replication ID
	linked   bool   // to its master
}

// look compares the server's counts with those of the last time. Keys of types
// that were touched silently are put into the set: at once, or every now and
// then.
func (l *Listener) look(ctx context.Context, atOnce bool) error {
	c := &l.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := l.stillOn(ctx); err != nil {
		return err
	}
	now, err := l.tally(ctx)
	if err != nil {
		return err
	}
	if now.commands < c.last.commands { // CONFIG RESETSTAT
		c.last.flushes, c.swept = 0, nil
	}
	if now.flushes != c.last.flushes {
		l.missed(ErrFlushed)
	}
	if now.replica && (!c.last.replica || now.history != c.last.history || now.linked && !c.last.linked) {
		l.missed(ErrResynced)
	}
	c.last = now
	if !atOnce && time.Since(c.at) < sweepEvery {
		return nil
	}
	return l.sweep(ctx)
}

// begin takes the server's counts as those from which on keys are told of.
func (l *Listener) begin(ctx context.Context) error {
	c := &l.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := l.tally(ctx)
	if err != nil {
		return err
	}
	c.last, c.swept = now, now.silent
	return nil
}

// stillOn sees that nobody has switched notifications off.
func (l *Listener) stillOn(ctx context.Context) error {
	if l.config.unknown {
		return nil
	}
	flags, unknown, err := l.flags(ctx)
	if err != nil || unknown || lacking(flags) == "" {
		return err
	}
	if _, err := l.switchOn(ctx); err != nil {
		return err
	}
	l.missed(ErrOff)
	return nil
}

// sweep puts the keys of types into the set that were touched by silent
// commands.
func (l *Listener) sweep(ctx context.Context) error {
	c := &l.counting
	for kind, calls := range c.last.silent {
		if calls == c.swept[kind] {
			continue
		}
		c.at = time.Now()
		if kind == anything || !l.version.AtLeast(6, 0) { // which can't SCAN by type
			l.missed(ErrSilent)
		} else if err := l.sweepType(ctx, kind); err != nil {
			return denied(err)
		}
		if c.swept == nil {
			c.swept = map[string]int64{}
		}
		c.swept[kind] = calls
	}
	return nil
}

// sweepType puts all keys of a type into the set.
func (l *Listener) sweepType(ctx context.Context, kind string) error {
	space, err := l.client.Info(ctx, "keyspace").Result()
	if err != nil {
		return err
	}
	for line := range strings.Lines(space) {
		digits, _, _ := strings.Cut(strings.TrimPrefix(line, "db"), ":")
		db, err := strconv.Atoi(digits)
		if err != nil || !l.opts.Choice.DB(db) {
			continue
		}
		if err := l.sweepDB(ctx, db, kind); err != nil {
			return fmt.Errorf("looking for keys of type %s in database %d: %w", kind, db, err)
		}
	}
	return nil
}

func (l *Listener) sweepDB(ctx context.Context, db int, kind string) error {
	o := *l.client.Options()
	o.DB = db
	client := redis.NewClient(&o)
	defer func() { _ = client.Close() }()
	for cursor := uint64(0); ; {
		keys, next, err := client.ScanType(ctx, cursor, "", sweepCount, kind).Result()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if key := []byte(k); l.chosen(db, key) {
				l.add(db, key)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// tally asks for the counts.
func (l *Listener) tally(ctx context.Context) (tally, error) {
	pipe := l.client.Pipeline()
	answers := []*redis.StringCmd{pipe.Info(ctx, "commandstats"), pipe.Info(ctx, "stats"), pipe.Info(ctx, "replication")}
	_, _ = pipe.Exec(ctx) // each command's own error counts
	var text strings.Builder
	for _, a := range answers {
		if err := a.Err(); err != nil {
			return tally{}, denied(err)
		}
		text.WriteString(a.Val())
		text.WriteString("\r\n")
	}
	return parseTally(text.String()), nil
}

// parseTally reads INFO's sections.
func parseTally(info string) tally {
	t := tally{silent: map[string]int64{}}
	counts := map[string]int64{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if command, ok := strings.CutPrefix(name, "cmdstat_"); ok {
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			counts[strings.ToLower(command)], _ = strconv.ParseInt(calls, 10, 64)
			continue
		}
		switch name {
		case "total_commands_processed":
			t.commands, _ = strconv.ParseInt(value, 10, 64)
		case "role":
			t.replica = value == "slave"
		case "master_replid":
			t.history = value
		case "master_link_status":
			t.linked = value == "up"
		}
	}
	for _, command := range sweeping {
		t.flushes += counts[command]
	}
	for command, kind := range silent {
		t.silent[kind] += counts[command]
	}
	return t
}

// hasReply reports whether an error is a server's, beginning with a word.
func hasReply(err error, word string) bool {
	var (
		reply redis.Error
		own   *refusal
		auth  *endpoint.AuthError
	)
	switch {
	case errors.As(err, &auth):
		return true
	case errors.As(err, &own):
		return strings.HasPrefix(own.line, word)
	case errors.As(err, &reply):
		return strings.HasPrefix(reply.Error(), word)
	}
	return false
}
