package tail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// names applies the load to two databases, one of them under other names, and
// leaves some keys out.
func names(t *testing.T, r *rig) {
	o := r.options(t)
	o.Choice = chosen(t, choice.Options{
		DBMap: map[int]string{1: "one:"}, Rename: []choice.Rename{{Old: "count:", New: "number:"}}, Exclude: []string{"hll:*", "*7"},
	})
	asked := map[int]bool{}
	o.Database = func(db int) error { asked[db] = true; return nil }
	u := r.begin(t, o, r.clean(t, "names"), true)
	r.write(t, 700, 3000, 60)
	for _, words := range [][]any{
		{"SELECT", 1}, {"INCR", "count:1"}, {"SET", "text:1", "x", "EX", 30000}, {"MSET", "a", 1, "b", 2}, {"RPUSH", "list:3", 1, 2, 3},
		{"RENAME", "a", "c"}, {"COPY", "list:3", "list:moved", "DB", 0}, {"SET", "text:moved", "y"}, {"MOVE", "text:moved", 0}, {"SELECT", 0},
	} {
		r.inOrder(t, words...)
	}
	u.follow(t)
	u.finish(t)
	sandboxtest.Equal(t, r.source.Client(), r.nodes.Client(), dataset.CompareOptions{
		Name: func(db int, key string) (string, bool) {
			return string(o.Choice.Name(nil, db, []byte(key))), o.Choice.Key(db, []byte(key))
		},
		Ignore: checkpoint.OwnKey,
	})
	if n := u.Counts(); n.Filtered == 0 || n.Failed > 0 || !asked[0] || !asked[1] {
		t.Errorf("%+v, asked for %v", n, asked)
	}
}

var onOne *redis.Conn // of inOrder

// inOrder runs a command on one connection, which keeps its database.
func (r *rig) inOrder(t *testing.T, words ...any) {
	t.Helper()
	if onOne == nil {
		onOne = r.source.Client().Conn()
		t.Cleanup(func() { _ = onOne.Close(); onOne = nil })
	}
	if err := onOne.Do(t.Context(), words...).Err(); err != nil {
		t.Fatalf("%v: %v", words, err)
	}
}

// withoutSource has nobody to ask for keys: what can't be split fails by name.
func withoutSource(t *testing.T, r *rig) {
	o := r.options(t)
	o.Reread = nil
	u := r.begin(t, o, r.clean(t, "without"), true)
	r.do(t, "MSET", "a", 1, "b", 2, "c", 3)
	r.do(t, "DEL", "a", "b")
	r.do(t, "RENAME", "c", "d")
	r.do(t, "RENAME", "d", "{d}e")
	u.follow(t)
	var failed []string
	for _, f := range u.Failures() {
		failed = append(failed, string(f.Key))
	}
	// The second RENAME shares a slot, and finds nothing to rename.
	if got := strings.Join(failed, " "); got != "c d d" {
		t.Errorf("failed: %s", got)
	}
	if err := u.Later(0, []byte("a")); !errors.Is(err, ErrResync) {
		t.Errorf("Later without a source: %v", err)
	}
	u.finish(t)
}

// flushes follows what empties databases, or stops.
func flushes(t *testing.T, r *rig) {
	for _, tc := range []struct {
		name    string
		o       Options
		command []any
		want    error
		empties bool
	}{
		{"stop", Options{}, []any{"FLUSHALL"}, ErrFlush, false},
		{"stop at a swap", Options{}, []any{"SWAPDB", 0, 1}, ErrFlush, false},
		{"apply", Options{OnFlush: Apply, Alone: true}, []any{"FLUSHALL"}, nil, true},
		{"apply to a database", Options{OnFlush: Apply, Alone: true}, []any{"FLUSHDB"}, nil, true},
		{"among others' keys", Options{OnFlush: Apply}, []any{"FLUSHALL"}, ErrResync, false},
		{"swap", Options{OnFlush: Apply, Alone: true}, []any{"SWAPDB", 0, 1}, ErrResync, false},
		{"of a database that is not copied", Options{Choice: chosen(t, choice.Options{DBs: []int{1}})}, []any{"FLUSHDB"}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := r.options(t)
			o.OnFlush, o.Alone = tc.o.OnFlush, tc.o.Alone
			if tc.o.Choice != nil {
				o.Choice = tc.o.Choice
			}
			u := r.begin(t, o, r.clean(t, "flush"), true)
			r.do(t, "SET", "before", 1)
			r.do(t, "RPUSH", "list", 1)
			r.do(t, "RENAME", "list", "other")
			r.do(t, tc.command...)
			end := r.reach(t)
			r.do(t, "INCR", "before")
			if err := u.give(end); !errors.Is(err, tc.want) {
				t.Fatalf("it gave %v", err)
			}
			if tc.want != nil {
				return
			}
			u.follow(t)
			if tc.empties {
				r.equal(t)
			}
			u.finish(t)
		})
	}
}

// refused has commands that the target does not take as the source did, because
// what it holds is of another type, or because it may not run them.
func refusedCommands(t *testing.T, r *rig) {
	u := r.begin(t, r.options(t), r.clean(t, "refused"), true)
	ctx := t.Context()
	if err := r.nodes.Client().RPush(ctx, "count:1", "not a number").Err(); err != nil {
		t.Fatal(err)
	}
	r.do(t, "INCR", "count:1")
	r.do(t, "SET", "text", "x", "EX", 1000)
	u.follow(t)
	if err := r.nodes.Client().Del(ctx, "text").Err(); err != nil {
		t.Fatal(err)
	}
	r.do(t, "EXPIRE", "text", 2000)
	u.follow(t)
	r.equal(t)
	if n := u.Counts(); n.Refused != 2 || n.Reread != 2 || n.Failed > 0 {
		t.Errorf("%+v", n)
	}
	u.finish(t)
}

// answersLost crashes an Applier between the answer that a command was refused and
// the reading of its key: the next one finds the command in, by its mark.
func answersLost(t *testing.T, r *rig) {
	from := r.clean(t, "answers")
	u := r.begin(t, r.options(t), from, true)
	ctx := t.Context()
	// A key of another type stands for options that the target does not know.
	if err := r.nodes.Client().RPush(ctx, "float", "not a number").Err(); err != nil {
		t.Fatal(err)
	}
	r.do(t, "INCR", "float")
	if err := u.give(r.reach(t)); err != nil {
		t.Fatal(err)
	}
	u.publish()
	eventually(t, "the last answer", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.unanswered == 0
	})
	u.crash()
	u = r.begin(t, r.options(t), from, false)
	u.follow(t)
	r.equal(t)
	if n := u.Counts(); n.In != 1 || n.Reread != 1 || n.Failed > 0 {
		t.Errorf("%+v", n)
	}
	u.finish(t)
}

// laterKeys have to be read again whatever their commands were.
func laterKeys(t *testing.T, r *rig) {
	from := r.clean(t, "later")
	r.do(t, "SET", "text", "x")
	r.do(t, "INCR", "count")
	u := r.begin(t, r.options(t), from, true)
	for _, key := range []string{"text", "gone"} {
		if err := r.nodes.Client().Set(t.Context(), key, "old", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := u.Later(0, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if u.Behind() == 0 {
		t.Error("nothing is behind while keys are to be read")
	}
	if err := r.nodes.Client().Set(t.Context(), "count", 41, 0).Err(); err != nil {
		t.Fatal(err)
	}
	u.Distrust(r.reach(t))
	u.follow(t)
	r.equal(t)
	u.finish(t)
}

// expiries that could pass before the commands come that move them are not
// relied on while the stream lags.
func expiries(t *testing.T, r *rig) {
	lag := time.Duration(0)
	o := r.options(t)
	o.Lag = func() time.Duration { return lag }
	u := r.begin(t, o, r.clean(t, "expiries"), true)
	r.do(t, "SET", "a", 1, "PX", 20)
	r.do(t, "SET", "b", 1, "EX", 10000)
	r.do(t, "PERSIST", "a")
	time.Sleep(50 * time.Millisecond)
	lag = time.Minute
	u.follow(t)
	r.equal(t)
	if n := u.Counts(); n.Reread != 1 {
		t.Errorf("%+v", n)
	}
	u.finish(t)
}

// relative applies what a source before 7.0 sends.
func relative(t *testing.T, r *rig) {
	u := r.begin(t, r.options(t), r.clean(t, "relative"), true)
	serial := u.at
	for _, text := range []string{"SET a 1", "EXPIRE a 100", "SETEX b 100 2", "SET c 3 PX 100000"} {
		var words [][]byte
		for _, w := range strings.Fields(text) {
			words = append(words, []byte(w))
		}
		raw := appendWords(nil, words)
		serial += int64(len(raw))
		if err := u.Command(&record.Command{Words: words, Raw: raw, End: record.Position{Stream: "history", Era: u.era, Serial: serial}}); err != nil {
			t.Fatal(err)
		}
	}
	u.at = serial
	u.drain(t)
	for _, key := range []string{"a", "b", "c"} {
		if ttl := r.nodes.Client().PTTL(t.Context(), key).Val(); ttl <= 90*time.Second || ttl > 100*time.Second {
			t.Errorf("%s lives for %s", key, ttl)
		}
	}
	u.finish(t)
}

// programs go to every master; a module's command is learnt or refused.
func programs(t *testing.T, r *rig) {
	o := r.options(t)
	learnt := ""
	o.Learn = func(_ context.Context, name string) (first, last, step int, ok bool) {
		learnt = name
		return 1, 1, 1, name == "MODULE.SET"
	}
	u := r.begin(t, o, r.clean(t, "programs"), true)
	r.do(t, "FUNCTION", "LOAD", "REPLACE", "#!lua name=mine\nredis.register_function('f', function() return 1 end)")
	u.follow(t)
	libraries := func() (n int) {
		for _, node := range r.nodes.Nodes {
			n += len(node.Client().FunctionList(t.Context(), redis.FunctionListQuery{}).Val())
		}
		return n
	}
	if n := libraries(); n != len(r.nodes.Nodes) {
		t.Errorf("%d of %d nodes have the library", n, len(r.nodes.Nodes))
	}
	r.do(t, "FUNCTION", "DELETE", "mine")
	u.follow(t)
	if n := libraries(); n != 0 {
		t.Errorf("%d nodes still have the library", n)
	}
	r.do(t, "SET", "further", "on") // the stream reaches further than what is given by hand
	give := func(text string) error {
		var words [][]byte
		for _, w := range strings.Fields(text) {
			words = append(words, []byte(w))
		}
		u.at++
		return u.Command(&record.Command{Words: words, Raw: appendWords(nil, words), End: record.Position{Stream: "history", Era: u.era, Serial: u.at}})
	}
	if err := give("OTHER.SET a 1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown command: %v", err)
	}
	if err := give("MODULE.SET a 1"); err != nil || learnt != "MODULE.SET" {
		t.Errorf("a command that can be learnt (%s): %v", learnt, err)
	}
	if err := u.Drain(t.Context()); err != nil { // the target has no such command: its key is read again
		t.Fatal(err)
	}
	if n := u.Counts(); n.Refused != 1 || n.Reread != 1 {
		t.Errorf("%+v", n)
	}
	u.finish(t)
}

// memory bounds what is on its way, however long a transaction is.
func memory(t *testing.T, r *rig) {
	o := r.options(t)
	o.Memory = 1 << 20
	u := r.begin(t, o, r.clean(t, "memory"), true)
	value := strings.Repeat("x", 3000)
	for range 3 {
		_, err := r.source.Client().TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			for i := range 300 {
				p.Append(t.Context(), fmt.Sprintf("{one}%d", i), value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.do(t, "SET", "large", strings.Repeat("y", 5<<20))
	u.follow(t)
	r.equal(t)
	if n := u.Counts(); n.Transactions != 3 || n.Torn != 3 {
		t.Errorf("%+v", n)
	}
	u.finish(t)
}
