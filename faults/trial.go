package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	resumesAtMost = 10
	retryFor      = "60s"
	moveSlack     = time.Second            // MIGRATE carries the time left, not the time
	saveEvery     = 500 * time.Millisecond // the tool's checkpoints
)

// trial is one import with one fault.
type trial struct {
	rig    *rig
	tool   tool
	fault  *fault
	source string // one of allKinds
	dir    string // for files of the tool, and what the tool reads
	r      *rand.Rand
	short  bool

	args  []string // of every run of the tool
	now   *process // the run that is on, or was last
	count int      // of runs

	at         float64 // the share of keys that was done when the fault was made
	exits      []string
	retries    retries
	warnings   int     // that the tool wrote
	cut        *cutter // of the network faults
	keys       int     // in the source
	lossy      int64   // keys that a failover threw away, or bytes of their changes
	full       bool    // a master has refused writes for want of memory
	sourceAddr string  // where the tool finds it
	writer     *writer // to a source that does not stand still
}

// run makes the fault and compares. Its error is errMissed when the fault came
// too late or was not felt, a differenceError, or what else went wrong.
func (t *trial) run(ctx context.Context) (err error) {
	if err := t.rig.prepare(ctx, t.fault.replicas(), t.r.Uint64()); err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	t.rig.worn = t.rig.worn || t.fault.wears
	defer t.endTool()
	if err := t.begin(ctx); err != nil {
		return err
	}
	if err := t.reach(ctx); err != nil {
		return err
	}
	if err := t.fault.strike(ctx, t); err != nil {
		return fmt.Errorf("making the fault: %w", err)
	}
	if err := t.finish(ctx); err != nil {
		return err
	}
	if err := t.compare(ctx); err != nil {
		return err
	}
	if t.fault.met != nil && !t.fault.met(t) {
		return fmt.Errorf("%w: the tool has not felt it: %+v", errMissed, t.retries)
	}
	return nil
}

// begin starts the tool, held back.
func (t *trial) begin(ctx context.Context) (err error) {
	if t.living() {
		return t.beginLiving(ctx)
	}
	if err := t.rig.pass(ctx, t.r, min(t.lasting(), usualLast)); err != nil {
		return err
	}
	t.keys = len(t.rig.truth) + len(t.rig.passing)
	t.args = t.usualArgs()
	if t.source == fromRDB {
		path := filepath.Join(t.dir, "dump.rdb")
		if err := t.rig.saveTo(ctx, path); err != nil {
			return err
		}
		t.args = append(t.args, "--source", path)
	} else {
		t.args = append(t.args, "--source", "redis://"+t.rig.source.Addr, "--source-password-file", t.tool.sourcePassword)
	}
	if err := t.rig.expireKeys(ctx, true); err != nil {
		return err
	}
	t.args = append(t.args, t.fault.args...)
	if t.fault.before != nil {
		if err := t.fault.before(ctx, t); err != nil {
			return err
		}
	}
	return t.launch(ctx, t.heldBack()...)
}

// usualArgs are those of every import, but for its source.
func (t *trial) usualArgs() []string {
	return []string{
		"import", "--output", "json", "--retry-for", retryFor, "--scan-count", "300",
		"--checkpoint", filepath.Join(t.dir, "checkpoint"),
		"--target", "redis://" + strings.Join(t.rig.cluster.Seeds(), ","), "--target-password-file", t.tool.targetPassword,
	}
}

// lasting is how long the import takes if nothing disturbs it.
func (t *trial) lasting() time.Duration {
	lasts := t.fault.lasts
	if lasts == 0 {
		lasts = usualLast
	}
	return t.scaled(lasts)
}

// scaled is a time that takes less with --short.
func (t *trial) scaled(d time.Duration) time.Duration {
	if t.short {
		d = time.Duration(shorter * float64(d))
	}
	return d
}

// heldBack are the flags that make it last so long.
func (t *trial) heldBack() []string {
	return []string{"--rate-keys", strconv.FormatFloat(float64(t.keys)/t.lasting().Seconds(), 'f', 0, 64)}
}

// launch starts the tool, for the first time or again.
func (t *trial) launch(ctx context.Context, more ...string) (err error) {
	t.count++
	t.now, err = t.tool.launch(ctx, t.dir, t.count, slices.Concat(t.args, more))
	return err
}

// reach waits for the moment of the fault: a share of the keys, and a while
// that is not in step with the checkpoints.
func (t *trial) reach(ctx context.Context) error {
	if t.living() {
		return t.reachLiving(ctx)
	}
	from, to := t.fault.window()
	share, more := from+(to-from)*t.r.Float64(), time.Duration(t.r.Int64N(int64(saveEvery)))
	for t.share() < share {
		if !t.now.running() {
			return fmt.Errorf("%w: the tool ended before", t.missedAt())
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
	if err := pause(ctx, more); err != nil {
		return err
	}
	return t.hit()
}

// hit notes how far the import is, which must be its middle. The tool may only
// have ended because it was made to.
func (t *trial) hit() error {
	t.at = t.share()
	if t.living() {
		if !t.now.killed && !t.now.looked && !t.now.running() {
			return t.missedAt()
		}
		return nil
	}
	if t.at < earliest || t.at > tooLate || !t.now.killed && !t.now.looked && !t.now.running() {
		return t.missedAt()
	}
	return nil
}

func (t *trial) missedAt() error { return fmt.Errorf("%w: at %.0f %%", errMissed, 100*t.share()) }

// share is how much of the keys the checkpoint has.
func (t *trial) share() float64 {
	if t.living() {
		return float64(t.progress().Read) / float64(max(1, t.keys))
	}
	data, err := os.ReadFile(filepath.Join(t.dir, "checkpoint", "checkpoint.json"))
	if err != nil {
		return 0
	}
	c, err := checkpoint.Decode(data)
	if err != nil {
		return 0
	}
	return float64(c.State.Counts.Read) / float64(t.keys)
}

// ended waits for the end of the run that is on and notes it.
func (t *trial) ended(ctx context.Context) (ending, error) {
	e, err := t.now.end(ctx)
	if err != nil {
		return e, fmt.Errorf("run %d of the tool: %w", t.count, err)
	}
	t.warnings += e.warnings
	exit := strconv.Itoa(e.exit)
	if e.killed {
		exit = "killed"
	}
	t.exits = append(t.exits, exit)
	t.retries.add(e.summary.all())
	return e, nil
}

// warned reports whether the tool has told of anything.
func (t *trial) warned() bool { return t.warnings > 0 }

// wantExit waits for a run that ends in one way only.
func (t *trial) wantExit(ctx context.Context, want int) error {
	e, err := t.ended(ctx)
	if err == nil && e.exit != want {
		err = fmt.Errorf("exit code %d, not %d", e.exit, want)
	}
	return err
}

// finish waits for the tool, and starts it again until it is done.
func (t *trial) finish(ctx context.Context) error {
	var flags []string
	if t.living() {
		if err := t.calm(ctx); err != nil {
			return err
		}
		flags = []string{"--once"}
	}
	for range resumesAtMost {
		if t.now.looked {
			if err := t.launch(ctx, flags...); err != nil {
				return err
			}
		}
		e, err := t.ended(ctx)
		if err != nil {
			return err
		}
		if e.exit == 0 {
			return t.account(e.summary)
		}
		if err := t.rig.settle(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("the tool is not done after %d resumes", resumesAtMost)
}

// account wants every key of the source in the last run's account, which is
// that of the whole job. Only SCAN may yield one twice.
func (t *trial) account(s summary) error {
	if t.living() { // whose keys come and go
		return nil
	}
	if s.Read < int64(len(t.rig.truth)) || t.source == fromRDB && s.Read != int64(t.keys) {
		return fmt.Errorf("%d keys were read, the source has %d: %+v", s.Read, t.keys, s)
	}
	return nil
}

// compare waits until what was to expire has, and compares.
func (t *trial) compare(ctx context.Context) error {
	if err := t.rig.settle(ctx); err != nil {
		return err
	}
	if err := pause(ctx, time.Until(time.UnixMilli(t.rig.passing.latest()+50))); err != nil {
		return err
	}
	all := make(truth, t.keys)
	for _, part := range []truth{t.rig.truth, t.rig.passing} {
		for key, v := range part {
			all[key] = v
		}
	}
	if t.living() {
		var err error
		if all, err = readTruth(ctx, t.rig.source.Client()); err != nil {
			return err
		}
		if sent := t.writer.sent.Load(); sent < leastWrites || len(all) < t.keys {
			return fmt.Errorf("%d commands were written, and the source holds %d keys of %d", sent, len(all), t.keys)
		}
		if t.rig.libraries, err = functions(ctx, t.rig.source.Client()); err != nil {
			return err
		}
	}
	c := newComparison(all, t.rig.vendor(), time.Now().UnixMilli())
	c.seen = !t.living() // commands can't say it, and nothing is notified of it
	if t.fault.moves {
		c.slack = moveSlack.Milliseconds()
	}
	if err := c.compare(ctx, t.rig.cluster, t.rig.libraries); err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	if len(c.wrong) > 0 {
		return &differenceError{c.wrong}
	}
	return nil
}

// endTool ends what is left of the trial.
func (t *trial) endTool() {
	if t.now != nil && t.now.running() {
		t.now.kill()
	}
	if t.writer != nil {
		t.writer.stop()
	}
	if t.cut != nil {
		t.cut.close()
	}
}

// keepLogs puts the servers' logs beside the tool's files.
func (t *trial) keepLogs() error {
	servers := []*sandbox.Server{t.rig.source}
	if t.rig.cluster != nil {
		servers = append(servers, t.rig.cluster.Nodes...)
	}
	var err error
	for _, s := range servers {
		err = errors.Join(err, os.WriteFile(filepath.Join(t.dir, fmt.Sprintf("server-%d.log", s.Port)), []byte(s.Log()), 0o600))
	}
	return err
}

// anyMaster picks one of the masters.
func (t *trial) anyMaster(ctx context.Context) (*sandbox.Server, error) {
	all, err := t.rig.cluster.Masters(ctx)
	if err == nil && len(all) == 0 {
		err = errors.New("no master has slots")
	}
	if err != nil {
		return nil, err
	}
	return all[t.r.IntN(len(all))], nil
}

// pair picks a master and its replica.
func (t *trial) pair(ctx context.Context) (master, replica *sandbox.Server, err error) {
	if master, err = t.anyMaster(ctx); err != nil {
		return nil, nil, err
	}
	replica, err = t.rig.replicaOf(ctx, master)
	return master, replica, err
}

// between draws a time.
func (t *trial) between(from, to time.Duration) time.Duration {
	return from + time.Duration(t.r.Int64N(int64(to-from)))
}
