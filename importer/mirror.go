package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

// Mirror remembers what was written last, so that a run writes only what has
// changed since, and removes what the source no longer has. A run that did not
// come to its end begins anew: what did not change costs no writing, and a key
// that went by before the interruption must not count as gone.
type Mirror interface {
	// Begin opens what is remembered. known tells whether there is anything: the
	// target may hold keys then.
	Begin(ctx context.Context, r MirrorRun) (known bool, err error)
	// Seen notes a record that is about to be sent under a name, and tells that
	// the target has it already. It is one goroutine's.
	Seen(r *record.Record, name []byte) (unchanged bool, err error)
	// Finish removes from the target what was not seen, and remembers what was
	// written. It is called when all of the source was read and answered.
	Finish(ctx context.Context, e MirrorEnd) (deleted int64, err error)
}

// MirrorRun is what is known of a run before its first key.
type MirrorRun struct {
	Source string   // where the keys come from, whatever they are at present
	Target []string // IDs of its nodes: it is the same target if it has one of them still
	Choice string   // which keys, under which names
	Keys   int64    // that the target holds
	Anew   bool     // write everything, whatever is remembered
	// Tolerance is by how much two readings of one expiry may differ.
	Tolerance time.Duration
}

// MirrorEnd is what is known of a run after its last key.
type MirrorEnd struct {
	Failed [][]byte // names that were not written
	Doubt  bool     // there are more of those
	// Exists tells which names the source has at present; nil if it can't change.
	Exists func(ctx context.Context, names [][]byte) ([]bool, error)
	// Remove removes names from the target.
	Remove func(ctx context.Context, names [][]byte) error
}

// readingNoise is by how much the sum of PTTL and TIME differs from one reading
// to the next.
const readingNoise = 10 * time.Millisecond

// openMirror opens what is remembered of the last run.
func (j *Job) openMirror(ctx context.Context, found *preflight.Findings) {
	if j.opts.OnExists == Skip {
		found.Block("mirror_skips", "choose --on-exists replace", "a mirror with --on-exists skip would never write what has changed")
		return
	}
	r := MirrorRun{Source: j.source.Text, Target: j.target.IDs, Choice: j.opts.Choice.Identity(), Keys: j.target.Keys, Anew: j.opts.Restart}
	if s := j.source.Server; s != nil && !s.Version.AtLeast(7, 0) {
		r.Tolerance = readingNoise
	}
	var err error
	if j.mirrored, err = j.opts.Mirror.Begin(ctx, r); err != nil {
		found.Block("mirror_unusable", "see that the job's folder can be written and has room", "%v", err)
	}
}

// finishMirror removes what is gone from the source, and closes the account.
func (j *Job) finishMirror(ctx context.Context) error {
	j.enter("removing")
	end := MirrorEnd{Remove: j.remove}
	failures := j.tracker.Load().Failures()
	for _, f := range failures {
		end.Failed = append(end.Failed, f.Key)
	}
	counts := j.tracker.Load().Totals()
	end.Doubt = counts.Failed+counts.Skipped-j.unchanged.Load() > int64(len(failures))
	if j.opts.Exists != nil {
		end.Exists = j.exists
	}
	deleted, err := j.opts.Mirror.Finish(ctx, end)
	j.deleted.Store(deleted)
	return interrupted(ctx, err)
}

// exists asks the source for everything that names of the target come from. A
// name that no key of the source could have counts as there.
func (j *Job) exists(ctx context.Context, names [][]byte) ([]bool, error) {
	defer j.owes(pulse.Wait{On: "the source", What: "word which keys it still has"})()
	type question struct {
		keys [][]byte
		of   []int
	}
	byDB, ours := map[int]*question{}, make([]bool, len(names))
	dbs := j.origins()
	for i, name := range names {
		j.opts.Choice.Origins(name, dbs, func(db int, key []byte) {
			ours[i] = true
			q := byDB[db]
			if q == nil {
				q = &question{}
				byDB[db] = q
			}
			q.keys, q.of = append(q.keys, append([]byte(nil), key...)), append(q.of, i)
		})
	}
	there := make([]bool, len(names))
	for i := range there {
		there[i] = !ours[i] // somebody else's
	}
	for db, q := range byDB {
		found, err := j.opts.Exists(ctx, db, q.keys)
		if err != nil {
			return nil, err
		}
		for n, yes := range found {
			there[q.of[n]] = there[q.of[n]] || yes
		}
	}
	return there, nil
}

// origins are the databases that keys of the target may come from: those that
// are mapped, and the one whose keys keep their names. A database that is empty
// now may have had keys, or get some.
func (j *Job) origins() []int {
	const mostDatabases = 1 << 14 // "databases" of a server may be more, but hardly is
	dbs := j.source.Databases()
	if plain := int(j.plainDB.Load()); plain >= 0 {
		dbs = append(dbs, plain)
	}
	for db := range mostDatabases {
		if j.opts.Choice.Mapped(db) {
			dbs = append(dbs, db)
		}
	}
	slices.Sort(dbs)
	return slices.Compact(dbs)
}

// remove removes names from the target, and tries again for RetryFor.
func (j *Job) remove(ctx context.Context, names [][]byte) error {
	defer j.owes(target.Owes("the target", "answers to UNLINK"))()
	client := j.opts.Target.Client()
	defer func() { _ = client.Close() }()
	begun := time.Now()
	for failures := 1; ; failures++ {
		var left [][]byte
		var last error
		pipe := client.Pipeline()
		answers := make([]*redis.IntCmd, len(names))
		for i, name := range names {
			answers[i] = pipe.Unlink(ctx, string(name))
		}
		_, _ = pipe.Exec(ctx) // each command's own error counts
		for i, a := range answers {
			if err := a.Err(); err != nil {
				left, last = append(left, names[i]), err
			}
		}
		switch {
		case last == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case redis.HasErrorPrefix(last, "NOPERM"), redis.HasErrorPrefix(last, "NOAUTH"), redis.HasErrorPrefix(last, "WRONGPASS"):
			return fmt.Errorf("%w: removing what is gone from the source: %w (ACL SETUSER <user> +unlink)", target.ErrDenied, last)
		case time.Since(begun) > j.opts.RetryFor:
			return errors.Join(record.ErrPatience, fmt.Errorf("removing what is gone from the source: %w", last))
		}
		names = left
		if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
			return err
		}
	}
}
