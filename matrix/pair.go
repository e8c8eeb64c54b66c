package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The two ways to read a source.
const (
	viaFile = "file"
	viaScan = "SCAN"
)

// pair is a source, a target, and what became of every kind between them.
type pair struct {
	from, to *version
	cells    map[string]map[string]*cell // by kind, by file or SCAN
	accounts map[string]account
	problems []string // what must not be
	rebuilds bool     // the tool makes values by commands

	refusedBySCAN map[string]bool // keys
	followed      tailCounts      // by --via sync
}

// cell is what became of the keys of one kind.
type cell struct {
	ways map[way]int
	why  string   // of one that was refused
	lost []string // of those that were rebuilt
}

// problem notes what must not be.
func (p *pair) problem(via, format string, args ...any) {
	text := fmt.Sprintf("%s → %s by %s: ", p.from.title, p.to.title, via) + fmt.Sprintf(format, args...)
	p.problems = append(p.problems, text)
	say("PROBLEM: %s", text)
}

func (p *pair) cell(kind, via string) *cell {
	if p.cells[kind] == nil {
		p.cells[kind] = map[string]*cell{}
	}
	if p.cells[kind][via] == nil {
		p.cells[kind][via] = &cell{ways: map[way]int{}}
	}
	return p.cells[kind][via]
}

// try imports a source into a target, from its file and from the live server.
func (m *matrix) try(ctx context.Context, s *source, t *target) (*pair, error) {
	p := &pair{from: s.version, to: t.version, cells: map[string]map[string]*cell{}, accounts: map[string]account{}}
	for _, via := range []string{viaFile, viaScan} {
		if err := m.carry(ctx, p, s, t, via); err != nil {
			return p, fmt.Errorf("%s → %s by %s: %w", s.title, t.title, via, err)
		}
	}
	if err := m.follow(ctx, p, s, t); err != nil {
		return p, fmt.Errorf("%s → %s by %s: %w", s.title, t.title, viaSync, err)
	}
	return p, nil
}

// carry imports once and checks everything.
func (m *matrix) carry(ctx context.Context, p *pair, s *source, t *target, via string) error {
	if err := t.empty(ctx); err != nil {
		return err
	}
	said, err := m.run(ctx, p, s, t, via)
	if err != nil {
		return err
	}
	if !said.toItsEnd() { // there is no account to check
		p.problem(via, "exit code %d: %v %s", said.exit, said.blockers, said.account.Error)
		for _, k := range kinds {
			p.cell(k.name, via).ways[undone]++
		}
		return nil
	}
	seen, err := t.watch.take(ctx)
	if err != nil {
		return err
	}
	there, err := t.contents(ctx)
	if err != nil {
		return err
	}
	busy, err := t.busy(ctx)
	if err != nil {
		return err
	}
	for _, what := range busy {
		if what != "" {
			p.problem(via, "a master did nothing else: %s", what)
		}
	}
	p.accounts[via] = said.account
	if via == viaScan {
		p.refusedBySCAN = map[string]bool{}
		for name := range said.refused {
			p.refusedBySCAN[name] = true
		}
	}
	p.rebuilds = said.account.Retries.Rebuilt != nil
	p.checkKeys(s, via, said, seen, there)
	p.checkAccount(s, via, said, seen, there)
	p.checkLibraries(s, t, via, there)
	return nil
}

// run imports, and again without what stood in the way.
func (m *matrix) run(ctx context.Context, p *pair, s *source, t *target, via string) (told, error) {
	from := s.file
	if via == viaScan {
		from = s.server.URL()
	}
	more := []string{"--checkpoint", "none"}
	said, err := carry(ctx, m.tool, from, t.cluster.Seeds(), more...)
	if err == nil && len(said.blockers) == 1 && said.blockers[0].Code == "functions" {
		// A target without functions is refused before the first write, unless
		// they may be left out.
		if err := p.blocked(ctx, said, s, t, via); err != nil {
			return said, err
		}
		more = append(more, "--on-unsupported", "skip")
		said, err = carry(ctx, m.tool, from, t.cluster.Seeds(), more...)
	}
	if log := t.ended(); err == nil && (log != "" || !said.toItsEnd()) {
		// A module's value can end or block servers that don't know its encoding.
		p.problem(via, "the import could not go on, exit code %d: %v %s", said.exit, said.blockers, said.account.Error)
		if log != "" {
			p.problem(via, "a master ended during the import: %s", log)
		}
		p.cell("vectors", via).ways[fatal]++
		if err := t.restart(ctx, m.dir); err != nil {
			return said, err
		}
		said, err = carry(ctx, m.tool, from, t.cluster.Seeds(), append(more, "--exclude", "vectors:*")...)
	}
	return said, err
}

// blocked checks that a refused import wrote nothing.
func (p *pair) blocked(ctx context.Context, said told, s *source, t *target, via string) error {
	there, err := t.contents(ctx)
	if err != nil {
		return err
	}
	if len(there.keys) > 0 || said.exit != exitBlocked || t.functions || len(s.libraries) == 0 {
		p.problem(via, "function libraries were named as a blocker, but the target knows functions, or the exit code is %d, or %d keys are there", said.exit, len(there.keys))
	}
	c := p.cell(functionsKind, via)
	c.ways[refused]++
	c.why = "the target knows no functions: nothing is written unless --on-unsupported skip leaves the libraries out"
	return nil
}

// exitBlocked is the tool's exit code when nothing was written.
const exitBlocked = 4

// checkKeys compares every key of the source with what is there.
func (p *pair) checkKeys(s *source, via string, said told, seen map[string]*sight, there found) {
	for _, name := range slices.Sorted(maps.Keys(s.keys)) {
		if name == leftOut {
			continue
		}
		want, kind := s.keys[name], kindOf(name)
		if p.cell(kind, via).ways[fatal] > 0 {
			continue
		}
		got, arrived := there.keys[name]
		why, named := said.refused[name]
		c := p.cell(kind, via)
		var how way
		switch {
		case arrived && named:
			p.problem(via, "key %q is there, but was named as one that is not: %s", name, why)
			continue
		case named:
			how, c.why = refused, why
		case !arrived:
			how = lost
			p.problem(via, "key %q (RDB type %d) is lost: neither there nor named", name, want.typ)
		default:
			how = observed(seen[name])
			p.compare(via, name, want, got, how)
		}
		c.ways[how]++
		if should := expected(p.to, via, want, p.rebuilds); how != should && how != lost && c.ways[how] == 1 { // one key of each kind is enough to tell
			p.problem(via, "key %q (RDB type %d, version %d) came over by %q, expected was %q %s", name, want.typ, want.rdb, how, should, why)
		}
	}
	for name := range there.keys {
		if _, ok := s.keys[name]; !ok || name == leftOut {
			p.problem(via, "key %q is there and should not be", name)
		}
	}
}

// compare looks at one key that was reported as written.
func (p *pair) compare(via, name string, want, got value, how way) {
	difference, lost, err := want.difference(got, how)
	if err != nil {
		difference = err.Error()
	}
	for _, what := range lost {
		if c := p.cell(kindOf(name), via); !slices.Contains(c.lost, what) {
			c.lost = append(c.lost, what)
		}
	}
	if difference != "" {
		p.problem(via, "key %q (RDB type %d, there %d, by %s) differs: %s", name, want.typ, got.typ, how, difference)
	}
	tolerance := int64(0)
	if want.expireAt != 0 && got.expireAt != 0 {
		tolerance = p.expiryTolerance(via)
	}
	if off := got.expireAt - want.expireAt; off > tolerance || off < -tolerance {
		p.problem(via, "key %q expires at %d, not %d (Unix milliseconds; 0 is never; tolerated are %d)", name, got.expireAt, want.expireAt, tolerance)
	}
}

// expiryTolerance is by how many milliseconds an expiry may be off: nothing,
// unless one of the servers tells only how long a key has still to live. Such an
// answer is as old as the time a busy machine takes between two commands.
func (p *pair) expiryTolerance(via string) int64 {
	const remaining = 500
	tolerance := int64(0)
	if via != viaFile && !p.from.expireTime {
		tolerance += remaining
	}
	if via == viaSync && !p.from.expireTime { // it replicates how long a key has still to live
		tolerance += lateTTL
	}
	if !p.to.expireTime {
		tolerance += remaining
	}
	return tolerance
}

// checkAccount holds the tool's account against what is there.
func (p *pair) checkAccount(s *source, via string, said told, seen map[string]*sight, there found) {
	a := said.account
	want := account{Read: int64(len(s.keys)), Filtered: 1, Written: int64(len(there.keys))}
	if p.cell("vectors", via).ways[fatal] > 0 {
		for name := range s.keys {
			if kindOf(name) == "vectors" {
				want.Filtered++
			}
		}
	}
	if via == viaFile { // which alone holds the expired key
		want.Read++
		want.Expired = 1
	}
	not := want.Read - want.Expired - want.Filtered - want.Written
	if said.exit == 0 {
		want.Skipped = not
	} else {
		want.Failed = not
	}
	if !a.balanced() || a.Read != want.Read || a.Written != want.Written || a.Skipped != want.Skipped ||
		a.Expired != want.Expired || a.Filtered != want.Filtered || a.Failed != want.Failed || not != int64(len(said.refused)) {
		p.problem(via, "the account does not add up: read %d = written %d + skipped %d + expired %d + filtered %d + failed %d, with %d keys named; %d keys are there, and it should be %d = %d + %d + %d + %d + %d",
			a.Read, a.Written, a.Skipped, a.Expired, a.Filtered, a.Failed, len(said.refused), len(there.keys),
			want.Read, want.Written, want.Skipped, want.Expired, want.Filtered, want.Failed)
	}
	if failed := said.exit != 0; failed != (a.Failed > 0) {
		p.problem(via, "exit code %d with %d failed keys: %s %s", said.exit, a.Failed, a.Error, strings.TrimSpace(said.stderr))
	}
	var stamped, made int64
	for name := range s.keys {
		x := seen[name]
		if x != nil && x.restored > 1 {
			stamped++
		}
		if _, ok := there.keys[name]; ok && observed(x) == rebuilt {
			made++
		}
	}
	if a.Retries.Restamped != stamped {
		p.problem(via, "the summary says that %d values were re-stamped, the masters saw %d", a.Retries.Restamped, stamped)
	}
	if n := a.Retries.Rebuilt; n != nil && *n != made {
		p.problem(via, "the summary says that %d values were rebuilt, the masters saw %d", *n, made)
	}
}

// checkLibraries compares the function libraries with those of every master.
func (p *pair) checkLibraries(s *source, t *target, via string, there found) {
	if len(s.libraries) == 0 || !t.functions {
		return
	}
	c := p.cell(functionsKind, via)
	for i, got := range there.libraries {
		if !slices.Equal(got, s.libraries) {
			c.ways[lost]++
			p.problem(via, "master %d has %d function libraries, not the %d of the source, or others", i, len(got), len(s.libraries))
			return
		}
	}
	c.ways["loaded"]++
}
