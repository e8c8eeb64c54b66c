package importer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/target"
)

// MidwayError is a blocker that could only be seen after the first write: its
// source can't be looked at beforehand.
type MidwayError struct{ Preflight *preflight.Error }

func (e *MidwayError) Error() string {
	return strings.Replace(e.Preflight.Error(), "nothing was written", "stopped midway, what came before is written", 1)
}

// Blocked tells that something was written, unlike with a *preflight.Error.
func (e *MidwayError) Blocked() bool { return false }

// preflight looks at both sides and the checkpoint, and returns all that stands
// in the way at once.
func (j *Job) preflight(ctx context.Context) error {
	var found preflight.Findings
	source := j.lookAtSource(ctx)
	if j.opts.Choice.SlotsChosen() {
		j.opts.Target.CountOnly(j.opts.Choice.Slot)
	}
	targetWell := j.lookAtTarget(ctx, &found)
	if j.opts.OpenStore != nil && !found.Has("target_unreachable", "target_auth", "target_not_cluster") {
		j.openStore(ctx, &found)
	}
	sourceWell := source.done(!j.resumed, &found)
	if context.Cause(ctx) != nil {
		return ErrInterrupted
	}
	if j.resumed {
		j.checkIdentity(sourceWell, targetWell, &found)
	}
	if sourceWell {
		j.checkDatabases(&found)
	}
	if j.opts.Mirror != nil && !j.verifying && sourceWell && targetWell && len(found.Blockers()) == 0 {
		j.openMirror(ctx, &found)
	}
	if targetWell && !j.verifying {
		j.checkTarget(&found)
		if n := j.opts.WaitReplicas; n > 0 {
			found = append(found, j.opts.Target.FewReplicas(ctx, n)...)
		}
	}
	if sourceWell && targetWell && !j.verifying {
		j.checkTogether(&found)
		j.checkMemory(&found)
		j.checkRebuilds(ctx, &found)
		if j.opts.Live != nil {
			found = append(found, j.opts.Target.TailRights(ctx)...)
		}
	}
	j.opts.Notify(found.Warnings())
	if blockers := found.Blockers(); len(blockers) > 0 {
		return &preflight.Error{Blockers: blockers}
	}
	return nil
}

// lookAtTarget inspects the target, and reports whether nothing there blocks.
func (j *Job) lookAtTarget(ctx context.Context, found *preflight.Findings) bool {
	defer j.owes(target.Owes("the target", "answers to a look at it"))()
	facts, part := j.opts.Target.Inspect(ctx)
	j.target = facts
	*found = append(*found, part...)
	return len(part.Blockers()) == 0
}

// sourceLook is a look at the source that goes on beside other work: the survey
// of a large file takes as long as many round trips to a far target.
type sourceLook struct {
	job      *Job
	skip     context.CancelFunc // ends the survey
	ended    chan struct{}
	facts    preflight.Source
	found    preflight.Findings
	surveyed preflight.Source   // facts with those of the survey
	more     preflight.Findings // of the survey
}

// lookAtSource begins to look.
func (j *Job) lookAtSource(ctx context.Context) *sourceLook {
	l := &sourceLook{job: j, ended: make(chan struct{})}
	surveying, skip := context.WithCancel(ctx)
	l.skip = skip
	go func() {
		defer close(l.ended)
		defer j.owes(pulse.Wait{On: "the source", What: "answers to a look at it"})()
		l.facts, l.found = j.opts.Source.Inspect(ctx)
		l.surveyed = l.facts
		if len(l.found.Blockers()) == 0 && surveying.Err() == nil {
			l.more = j.opts.Source.Survey(surveying, &l.surveyed)
		}
	}()
	return l
}

// done waits for the look and takes what it saw, that of the survey only if it
// is wanted: a resumed job knows it already. It reports whether nothing blocks.
func (l *sourceLook) done(survey bool, found *preflight.Findings) bool {
	if !survey {
		l.skip()
	}
	<-l.ended
	l.skip()
	if survey {
		l.facts, l.found = l.surveyed, append(l.found, l.more...)
	}
	l.job.source = l.facts
	*found = append(*found, l.found...)
	return len(l.found.Blockers()) == 0
}

// openStore opens the checkpoint and decides whether the job goes on from it.
func (j *Job) openStore(ctx context.Context, found *preflight.Findings) {
	waiting := j.owes(pulse.Wait{On: "the checkpoint's lock", What: "the end of a run that holds it, or died with it", Remedy: "see that no other run uses the checkpoint"})
	store, err := j.opts.OpenStore(ctx)
	waiting()
	if err != nil {
		code, remedy := "checkpoint_unusable", "name a folder that can be written: --checkpoint DIR"
		if errors.Is(err, checkpoint.ErrLocked) {
			code, remedy = "checkpoint_locked", "wait for the other run, or give this one another --job"
		}
		found.Block(code, remedy, "%v", err)
		return
	}
	j.store = store
	if s, ok := store.(interface{ Held() error }); ok {
		j.opts.Target.Fence(s.Held)
	}
	c, err := store.Load(ctx)
	switch {
	case j.opts.Restart:
		j.unfinished = err == nil && !c.Done
		return
	case errors.Is(err, checkpoint.ErrNone):
		return
	case errors.Is(err, checkpoint.ErrDamaged):
		found.Block("checkpoint_damaged", "--restart begins anew; nothing is lost by that but time", "%v", err)
	case err != nil:
		found.Block("checkpoint_unusable", "see that the checkpoint can be read", "%v", err)
	case c.Done:
		j.log.Info("an earlier run of this job was finished; beginning anew")
	case j.opts.Mirror != nil:
		j.unfinished = true
		j.log.Info("an earlier run of this job was not finished; a mirror begins anew, and writes only what it has not written for certain")
	default:
		j.saved, j.resumed, j.unfinished = c, true, true
	}
}

// checkIdentity refuses to go on with another job's checkpoint.
func (j *Job) checkIdentity(source, target bool, found *preflight.Findings) {
	differs := func(code, what, was, is string) {
		found.Block(code, "run it with the same "+what+" as before, name another job (--job), or begin anew (--restart)",
			"the checkpoint of job %q is about another %s: %s, now %s", j.opts.Job, what, was, is)
	}
	if now := (checkpoint.Identity{Text: j.source.Text, IDs: j.source.IDs}); source && !now.Same(j.saved.Source) {
		is := now.Text
		if is == j.saved.Source.Text {
			is += " with other contents"
		}
		differs("checkpoint_other_source", "source", j.saved.Source.Text, is)
	}
	if now := (checkpoint.Identity{Text: j.target.Text, IDs: j.target.IDs}); target && !now.Same(j.saved.Target) {
		is := now.Text
		if is == j.saved.Target.Text {
			is += ", another cluster"
		}
		differs("checkpoint_other_target", "target", j.saved.Target.Text, is)
	}
	if now := j.opts.Choice.Identity(); now != j.saved.Choice {
		differs("checkpoint_other_choice", "choice of keys", j.saved.Choice, now)
	}
	if now := string(j.opts.OnExists); now != j.saved.Policy {
		differs("checkpoint_other_policy", "--on-exists", j.saved.Policy, now)
	}
}

// checkTarget looks at what the target holds already.
func (j *Job) checkTarget(found *preflight.Findings) {
	written := j.saved.State.Counts.Permanent
	if j.saved.State.Position.Stream != "" || j.opts.Followed != nil {
		written = 0 // the source may have deleted any number since
	}
	switch {
	case found.Has("checkpoint_locked"): // whose run has written what is there
	case found.Has("checkpoint_other_source", "checkpoint_other_target", "checkpoint_other_choice"): // what is counted is not what was written
	case !j.resumed && !j.mirrored && j.target.Keys > 0 && j.opts.OnExists == Fail:
		found.Block("target_not_empty", "--on-exists replace lets the source win, --on-exists skip lets the target win; or empty the target",
			"the target holds %d keys already", j.target.Keys)
	case j.resumed && j.target.Keys < written/2:
		found.Block("target_lost_keys", "--restart copies everything again; with --on-exists replace if the target is not empty",
			"the checkpoint says that %d keys without expiry were written, but the target holds only %d: was it emptied?", written, j.target.Keys)
	case j.resumed && j.target.Keys < written:
		found.Warn("target_lost_keys", "if nobody deleted keys there, --restart with --on-exists replace copies everything again",
			"the checkpoint says that %d keys without expiry were written, the target holds %d", written, j.target.Keys)
	}
}

// checkDatabases refuses several databases, unless maps keep them apart.
func (j *Job) checkDatabases(found *preflight.Findings) {
	var plain []int
	for _, db := range j.source.Databases() {
		if !j.opts.Choice.Mapped(db) {
			plain = append(plain, db)
		}
	}
	if len(plain) > 1 {
		var b strings.Builder
		for i, db := range plain {
			fmt.Fprintf(&b, "%sdb %d: %d keys", comma(i), db, j.source.Keys[db])
		}
		found.Block("databases", databasesRemedy(plain...), "keys in several databases (%s), but a cluster has one", &b)
	}
	if j.source.Collision != "" {
		found.Block("collision", "choose other prefixes for --db-map or --rename-prefix",
			"two keys would get the same name in the target, one of them %s", j.source.Collision)
	}
}

// databasesRemedy shows what maps would do.
func databasesRemedy(dbs ...int) string {
	var b strings.Builder
	for i, db := range dbs {
		if i > 0 {
			fmt.Fprintf(&b, "--db-map %d=db%d: ", db, db)
		}
	}
	last := dbs[len(dbs)-1]
	return fmt.Sprintf("%swould write key \"user:1\" of db %d as \"db%d:user:1\" (db %d stays as it is); or choose one with --db", b.String(), last, last, dbs[0])
}

func collision(key []byte, db int) error {
	var f preflight.Findings
	f.Block("collision", "choose other prefixes for --db-map or --rename-prefix",
		"two keys would get the same name in the target, one of them %q of db %d", key[:min(len(key), 128)], db)
	return &MidwayError{&preflight.Error{Blockers: f}}
}

func collisionsUnknown() error {
	var f preflight.Findings
	f.Block("collisions_unknown", "name every database that has keys in --db-map (--db-map 0= leaves names as they are), choose prefixes that few keys begin with, or import from a file, which is looked at beforehand",
		"whether two keys would get the same name in the target can't be told while reading this source once")
	return &MidwayError{&preflight.Error{Blockers: f}}
}

// checkTogether compares both sides: versions, functions, modules, clocks.
func (j *Job) checkTogether(found *preflight.Findings) {
	oldest := j.target.Oldest()
	if v := oldest.Version; j.source.RDB > v.RDB() {
		found.Warn("older_target", "try with a copy first, or upgrade the target",
			"the source's values are of RDB version %d, the target (%s) takes %d at most: they are relabelled where their encoding is old enough, and rebuilt with native commands where it is not",
			j.source.RDB, v, v.RDB())
	}
	if j.source.Libraries > 0 && !oldest.Version.AtLeast(7, 0) {
		add := found.Block
		if j.opts.SkipUnsupported {
			add = found.Warn
		}
		add("functions", "upgrade the target to 7.0 or newer, or leave the libraries out with --on-unsupported skip",
			"the source has %d function libraries, which the target (%s) does not know", j.source.Libraries, oldest.Version)
	}
	if j.source.Server != nil {
		for _, m := range j.source.Server.Modules {
			if !slices.Contains(oldest.Modules, m) {
				found.Warn("module_missing", "load it on every node of the target if keys use it", "the source has module %s loaded, the target has not", m)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.source.ModuleTypes)) {
		if !oldest.KnowsType(name) {
			found.Warn("module_values", "load the same module on every node of the target, or leave those keys out (--type)",
				"%d keys are values of module type %s, which the target may not know", j.source.ModuleTypes[name], name)
		}
	}
	j.checkClocks(found)
}

// checkRebuilds looks whether the user may rebuild values, when it is known that
// some will have to be.
func (j *Job) checkRebuilds(ctx context.Context, found *preflight.Findings) {
	version := j.target.Oldest().Version
	likely := j.source.RDB > version.RDB()
	if s := j.source.Survey; s != nil {
		likely = s.Largest > min(j.opts.Target.MaxCommand(), j.opts.Target.MaxBulk())
		for typ, keys := range s.Types {
			likely = likely || keys > 0 && !version.Takes(s.Vendor, typ)
		}
	}
	if likely {
		*found = append(*found, j.opts.Target.RebuildRights(ctx)...)
	}
}

// checkMemory compares what each master may still take with its share of the
// source. How values lie in memory on the other side is not known beforehand,
// so it warns, and blocks only where keys would be evicted silently.
func (j *Job) checkMemory(found *preflight.Findings) {
	need := j.source.Bytes
	if j.source.Server != nil {
		need = j.source.Server.Dataset
	}
	if j.resumed || need == 0 || !j.opts.Choice.All() {
		return
	}
	const slots = 16384
	for _, m := range j.target.Masters {
		s := m.Server
		share := need * int64(m.Slots) / slots
		if free := s.MaxMemory - s.Used; s.MaxMemory == 0 || share <= free {
			continue
		}
		text := fmt.Sprintf("%s has %d MiB free below maxmemory; its share of the source is about %d MiB", m.Addr, max(0, s.MaxMemory-s.Used)>>20, share>>20)
		if s.Policy == "noeviction" {
			found.Warn("memory", "raise maxmemory on that node", "%s", text)
		} else {
			found.Block("memory", "raise maxmemory on that node, or set maxmemory-policy noeviction", "%s, and it would evict keys silently (%s)", text, s.Policy)
		}
	}
}

// checkClocks warns of clocks that differ: expiries are absolute.
func (j *Job) checkClocks(found *preflight.Findings) {
	const tolerated = time.Second
	reference, whose := time.Duration(0), "this machine's"
	if j.source.Server != nil {
		reference, whose = j.source.Server.Skew, "the source's"
	}
	for _, m := range j.target.Masters {
		if d := m.Server.Skew - reference; d.Abs() > tolerated {
			found.Warn("clocks", "set the clocks right (NTP): keys expire by the target's clock",
				"the clock of %s differs from %s by %s", m.Addr, whose, d.Round(time.Millisecond))
		}
	}
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ", "
}
