package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// kind is one thing that goes wrong.
type kind struct {
	name, about string
	short       bool // made with --short, too
	early       bool // made in the first third only
	strike      func(context.Context, *soak) (what string, err error)
}

var kinds = []*kind{
	{name: "serve-kill", about: "kill -9 of the service, which is started again at once; in the first third only, so that growth shows in the rest", short: true, early: true, strike: killService},
	{name: "master-kill", about: "kill -9 of a master; its replica takes over, and it comes back as a replica", short: true, strike: killMaster},
	{name: "source-clients", about: "CLIENT KILL of all clients and replicas of both sources", short: true, strike: killSourceClients},
	{name: "master-stop", about: "SIGSTOP of a master for one to six seconds: with luck nobody takes over", strike: stopMaster},
	{name: "mirrored-stop", about: "SIGSTOP of the mirrored source for one to five seconds", strike: func(ctx context.Context, s *soak) (string, error) {
		return s.freeze(ctx, s.rig.mirrored, 5*time.Second)
	}},
	{name: "followed-stop", about: "SIGSTOP of the followed source for one to five seconds", strike: func(ctx context.Context, s *soak) (string, error) {
		return s.freeze(ctx, s.rig.followed, 5*time.Second)
	}},
	{name: "target-clients", about: "CLIENT KILL TYPE normal on all masters, three times", strike: killTargetClients},
	{name: "source-restart", about: "the mirrored source is shut down and started again with its data", strike: func(ctx context.Context, s *soak) (string, error) {
		return s.rig.mirrored.Addr, s.rig.mirrored.Restart(ctx)
	}},
	{name: "reload", about: "SIGHUP with changed settings: the mirror compares both sides after a run, or no longer does", strike: reload},
}

// fault is one that was made.
type fault struct {
	kind         *kind
	begun, ended time.Time // healed
}

// draw decides the order of the faults: each kind comes once before any comes
// again.
type draw struct {
	r    *rand.Rand
	from []*kind
	left []*kind
}

func (s *soak) draw() *draw {
	d := &draw{r: rand.New(rand.NewPCG(s.seed, 1))}
	for _, k := range kinds {
		if k.short || !s.short {
			d.from = append(d.from, k)
		}
	}
	return d
}

// next returns a kind; early ones come while they may, at once in the first round.
func (d *draw) next(early bool) *kind {
	if len(d.left) == 0 {
		first := d.left == nil
		d.left = slices.Clone(d.from)
		d.r.Shuffle(len(d.left), func(a, b int) { d.left[a], d.left[b] = d.left[b], d.left[a] })
		if first {
			slices.SortStableFunc(d.left, func(a, b *kind) int { return rank(a) - rank(b) })
		}
	}
	k := d.left[0]
	d.left = d.left[1:]
	if k.early && !early {
		return d.next(early)
	}
	return k
}

func rank(k *kind) int {
	if k.early {
		return 0
	}
	return 1
}

// make makes a fault, and waits until all is well again.
func (s *soak) make(ctx context.Context, k *kind) {
	f := &fault{kind: k, begun: time.Now()}
	s.note(func() { s.faults = append(s.faults, f) })
	what, err := k.strike(ctx, s)
	s.say("%s: %s", k.name, what)
	if err == nil {
		err = s.rig.heal(ctx)
	}
	s.note(func() { f.ended = time.Now() })
	if err != nil {
		s.fail(fmt.Errorf("%s: %w", k.name, err))
	}
}

func (s *soak) random(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rand.Int64N(int64(hi-lo)))
}

func killService(ctx context.Context, s *soak) (string, error) {
	err := s.service.kill(ctx)
	return fmt.Sprintf("process %d begins", len(s.service.logs)), err
}

// pair draws a master and its replica.
func (s *soak) pair(ctx context.Context) (master, replica *sandbox.Server, err error) {
	all, err := s.rig.cluster.Masters(ctx)
	if err != nil {
		return nil, nil, err
	}
	master = all[s.rand.IntN(len(all))]
	replicas, err := s.rig.cluster.Replicas(ctx, master)
	if err == nil && len(replicas) == 0 {
		err = fmt.Errorf("%s has no replica", master.Addr)
	}
	if err != nil {
		return nil, nil, err
	}
	return master, replicas[0], nil
}

func killMaster(ctx context.Context, s *soak) (string, error) {
	master, replica, err := s.pair(ctx)
	if err != nil {
		return "", err
	}
	if err := master.Kill(); err != nil {
		return "", err
	}
	begun := time.Now()
	if err := promoted(ctx, replica); err != nil {
		return "", err
	}
	what := fmt.Sprintf("%s, whose replica %s took over after %.1f s", master.Addr, replica.Addr, time.Since(begun).Seconds())
	return what, errors.Join(pause(ctx, s.random(0, s.nodeTimeout)), master.Restart(ctx))
}

func stopMaster(ctx context.Context, s *soak) (string, error) {
	master, _, err := s.pair(ctx)
	if err != nil {
		return "", err
	}
	return s.freeze(ctx, master, 6*time.Second)
}

// freeze stops a server for a while.
func (s *soak) freeze(ctx context.Context, n *sandbox.Server, longest time.Duration) (string, error) {
	d := s.random(time.Second, longest)
	err := n.Pause()
	if err == nil {
		err = errors.Join(pause(ctx, d), n.Resume())
	}
	return fmt.Sprintf("%s for %.1f s", n.Addr, d.Seconds()), err
}

func killTargetClients(ctx context.Context, s *soak) (string, error) {
	for range 3 {
		all, err := s.rig.cluster.Masters(ctx)
		if err != nil {
			return "", err
		}
		for _, m := range all {
			if err := killClients(ctx, m, "normal"); err != nil {
				return m.Addr, err
			}
		}
		if err := pause(ctx, s.random(50*time.Millisecond, 500*time.Millisecond)); err != nil {
			return "", err
		}
	}
	return "all masters", nil
}

func killSourceClients(ctx context.Context, s *soak) (string, error) {
	for _, n := range []*sandbox.Server{s.rig.mirrored, s.rig.followed} {
		for _, kind := range []string{"normal", "replica"} {
			if err := killClients(ctx, n, kind); err != nil {
				return n.Addr, err
			}
		}
	}
	return "both sources", nil
}

func reload(ctx context.Context, s *soak) (string, error) {
	c := s.settings
	c.checkTarget = !c.checkTarget
	return fmt.Sprintf("check_target: %t", c.checkTarget), s.change(ctx, c)
}
