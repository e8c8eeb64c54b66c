package tail

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

func TestApply(t *testing.T) {
	r := newRig(t, 0)
	for _, tc := range []struct {
		name string
		test func(*testing.T, *rig)
	}{
		{"every command once", everyCommandOnce},
		{"crashes", crashes},
		{"connections lost", connectionsLost},
		{"a master stopped for long", masterStopped},
		{"slots move", slotsMove},
		{"names, databases and filters", names},
		{"no live source", withoutSource},
		{"flushes", flushes},
		{"commands that the target refuses", refusedCommands},
		{"answers lost in a crash", answersLost},
		{"keys for later", laterKeys},
		{"expiries", expiries},
		{"relative expiries", relative},
		{"functions and modules", programs},
		{"memory", memory},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, r) })
	}
}

func everyCommandOnce(t *testing.T, r *rig) {
	u := r.begin(t, r.options(t), r.clean(t, "plain"), true)
	for seed := range uint64(4) {
		r.write(t, seed, 5000, 100)
		u.follow(t)
		r.equal(t)
	}
	n := u.Counts()
	if n.Applied == 0 || n.Reread == 0 || n.Split == 0 || n.Torn == 0 || n.Transactions <= n.Torn || n.Failed > 0 {
		t.Errorf("the load did not do what it is for: %+v", n)
	}
	u.finish(t)
	r.equal(t)
}

// crashes ends an Applier at any moment, again and again: the next one goes on
// from the last safe position, or from an older one, as a checkpoint is.
func crashes(t *testing.T, r *rig) {
	safe := r.clean(t, "crashes")
	u := r.begin(t, r.options(t), safe, true)
	random := rand.New(rand.NewPCG(7, 7))
	for i := range 25 {
		r.write(t, uint64(100+i), 400, 30)
		end := r.reach(t)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			time.Sleep(time.Duration(random.IntN(15000)) * time.Microsecond)
			u.crash()
		}()
		err := u.give(end)
		if err == nil && i%2 == 0 {
			err = u.Idle()
		}
		<-gone
		if now := u.Safe(); now.Serial < safe.Serial {
			t.Fatalf("the safe position went back from %d to %d", safe.Serial, now.Serial)
		} else if i%3 > 0 {
			safe = now
		}
		_ = err // whether it was over before the crash
		u = r.begin(t, r.options(t), safe, false)
	}
	u.follow(t)
	r.equal(t)
	if n := u.Counts(); n.Failed > 0 {
		t.Errorf("failed keys: %v", u.Failures())
	}
	u.finish(t)
}

// connectionsLost cuts the connections while blocks are on their way: the marks
// tell which of them took effect.
func connectionsLost(t *testing.T, r *rig) {
	u := r.begin(t, r.options(t), r.clean(t, "cut"), true)
	cut := func() {
		for _, n := range r.nodes.Nodes {
			n.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}
	}
	for i := range 20 {
		r.write(t, uint64(200+i), 1000, 60)
		end := r.reach(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 {
				time.Sleep(2 * time.Millisecond)
				cut()
			}
		}()
		if err := u.give(end); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	u.drain(t)
	r.equal(t)
	if u.Counts().Lost == 0 {
		t.Error("no connection was lost")
	}
	u.finish(t)
}

// masterStopped stops a master for longer than its answers are waited for. When
// it goes on it reads what lies in the sockets of connections that were given up.
func masterStopped(t *testing.T, r *rig) {
	o := r.options(t)
	o.ReplyTimeout = 300 * time.Millisecond
	u := r.begin(t, o, r.clean(t, "stopped"), true)
	for i := range 3 {
		n := r.nodes.Nodes[i]
		r.write(t, uint64(300+i), 3000, 60)
		end := r.reach(t)
		gave := make(chan error, 1)
		go func() { gave <- u.give(end) }()
		time.Sleep(time.Duration(i*3) * time.Millisecond)
		if err := n.Pause(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond) // shorter than what makes the others take it for dead
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := <-gave; err != nil {
			t.Fatal(err)
		}
		u.drain(t)
		r.equal(t)
	}
	if u.Counts().Lost == 0 {
		t.Error("no connection was given up")
	}
	u.finish(t)
}

// slotsMove moves slots to and fro under the load, key by key.
func slotsMove(t *testing.T, r *rig) {
	u := r.begin(t, r.options(t), r.clean(t, "moves"), true)
	r.write(t, 400, 3000, 60)
	u.follow(t)
	home, away := r.nodes.Nodes[0], r.nodes.Nodes[1]
	stop := make(chan struct{})
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		for {
			for _, way := range [][2]*sandbox.Server{{home, away}, {away, home}} {
				select {
				case <-stop:
					if way[0] == home {
						return
					}
				default:
				}
				for slot := range 400 {
					move(t, r.nodes, way[0], way[1], slot)
				}
			}
		}
	}()
	for i := range 10 {
		r.write(t, uint64(401+i), 2000, 60)
		if err := u.give(r.reach(t)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-moved
	u.drain(t)
	r.equalBut(t, dataset.CompareOptions{Moved: true})
	if n := u.Counts(); n.Redirected == 0 || n.Held == 0 {
		t.Errorf("no slot moved under a command: %+v", n)
	}
	u.finish(t)
}

// move moves a slot as redis-cli does.
func move(t *testing.T, nodes *sandbox.Cluster, from, to *sandbox.Server, slot int) {
	ctx := t.Context()
	fromID, err1 := nodes.NodeID(ctx, from)
	toID, err2 := nodes.NodeID(ctx, to)
	if err1 != nil || err2 != nil {
		t.Error(err1, err2)
		return
	}
	do := func(s *sandbox.Server, words ...any) {
		if err := s.Client().Do(ctx, words...).Err(); err != nil {
			t.Errorf("%v: %v", words, err)
		}
	}
	do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	for {
		keys, err := from.Client().ClusterGetKeysInSlot(ctx, slot, 10).Result()
		if err != nil {
			t.Error(err)
			return
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", to.Host, to.Port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		do(from, args...)
	}
	do(to, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	do(from, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	for _, n := range nodes.Nodes {
		if n != from && n != to {
			do(n, "CLUSTER", "SETSLOT", slot, "NODE", toID)
		}
	}
}
