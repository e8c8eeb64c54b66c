package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	stopped    = 20 * time.Second
	patient    = 60 * time.Second // a node timeout that no fault reaches
	loadLasts  = 4 * time.Second
	roomInFull = 256 << 10 // bytes
)

var masterFaults = []*fault{
	{name: "failover", about: "CLUSTER FAILOVER: a replica takes over by agreement", strike: failover()},
	{name: "failover-force", about: "CLUSTER FAILOVER FORCE: the replica does not ask its master", strike: failover("FORCE")},
	{name: "failover-takeover", about: "CLUSTER FAILOVER TAKEOVER: the replica asks nobody", strike: failover("TAKEOVER")},
	{name: "master-kill", about: "kill -9 of a master; its replica takes over, and it comes back as a replica", strike: killMaster},
	{
		name: "master-loss", about: "a master whose replica hears nothing for a while is killed, so that writes which it acknowledged are lost when the replica takes over",
		short: []string{fromRDB}, from: early, to: 0.4, strike: loseMaster, met: (*trial).lost,
	},
	{
		name: "master-loss-late", about: "the same, after more than the minute by which the tool goes back",
		runs: 1, lasts: 120 * time.Second, from: 0.7, to: 0.8, strike: loseMaster, met: (*trial).lost,
	},
	{
		name: "loss-while-gone", about: "the tool is killed, or ended by SIGTERM, and before it goes on, a master loses writes that it acknowledged",
		from: early, to: 0.4, strike: loseWhileGone, met: (*trial).lost,
	},
	{
		name: "master-restart", about: "a master is shut down and started again at once with its data, and stays a master",
		strike: func(ctx context.Context, t *trial) error {
			m, err := t.anyMaster(ctx)
			if err != nil {
				return err
			}
			return m.Restart(ctx)
		},
	},
	{
		name: "master-crash", about: "kill -9 of a master, which is started again at once with what its append-only file has",
		strike: func(ctx context.Context, t *trial) error {
			m, err := t.anyMaster(ctx)
			if err != nil {
				return err
			}
			return errors.Join(m.Kill(), m.Restart(ctx))
		},
	},
	{
		name: "master-loading", about: "kill -9 of a master, whose append-only file then takes four seconds to load",
		strike: loading, met: func(t *trial) bool { return t.retries.Paused > 0 },
	},
	{
		name: "master-stop", about: "SIGSTOP of a master for 20 s, with a longer node timeout: nobody takes over",
		runs: 2, strike: func(ctx context.Context, t *trial) error { return stop(ctx, t, stopped, false) },
	},
	{
		name: "master-stop-long", about: "SIGSTOP of a master for 20 s, with a shorter node timeout: its replica takes over, and then it wakes up",
		runs: 2, strike: func(ctx context.Context, t *trial) error { return stop(ctx, t, stopped, true) },
	},
	{
		name: "master-sleep", about: "DEBUG SLEEP of 2.5 s on a master",
		strike: func(ctx context.Context, t *trial) error {
			m, err := t.anyMaster(ctx)
			if err != nil {
				return err
			}
			return m.Client().Do(ctx, "DEBUG", "SLEEP", "2.5").Err()
		},
	},
	{
		name: "master-clients", about: "CLIENT KILL TYPE normal on all masters, four times",
		strike: killAllClients, met: func(t *trial) bool { return t.retries.Lost > 0 },
	},
	{
		name: "master-full", about: "a master reaches maxmemory and evicts nothing; a while later it gets more",
		strike: fillUp, met: func(t *trial) bool { return t.retries.Paused > 0 },
	},
}

var aloneFaults = []*fault{{
	name: "master-gone", about: "kill -9 of a master without a replica: the tool must end with 75 after --retry-for; then the master is back, and the same command goes on",
	alone: true, args: []string{"--retry-for", "6s"},
	strike: func(ctx context.Context, t *trial) error {
		m, err := t.anyMaster(ctx)
		if err != nil {
			return err
		}
		if err := m.Kill(); err != nil {
			return err
		}
		if err := t.wantExit(ctx, interrupted); err != nil {
			return err
		}
		return t.rig.settle(ctx)
	},
}}

// failover lets a replica take over, in one of three ways.
func failover(how ...any) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		_, replica, err := t.pair(ctx)
		if err != nil {
			return err
		}
		if err := replica.Client().Do(ctx, append([]any{"CLUSTER", "FAILOVER"}, how...)...).Err(); err != nil {
			return err
		}
		return promoted(ctx, replica)
	}
}

func killMaster(ctx context.Context, t *trial) error {
	master, replica, err := t.pair(ctx)
	if err != nil {
		return err
	}
	return t.killFor(ctx, master, replica)
}

// killFor kills a master, waits for its replica to take over, and brings it
// back some time later.
func (t *trial) killFor(ctx context.Context, master, replica *sandbox.Server) error {
	if err := master.Kill(); err != nil {
		return err
	}
	if err := promoted(ctx, replica); err != nil {
		return err
	}
	if err := pause(ctx, t.between(0, 2*time.Second)); err != nil {
		return err
	}
	return master.Restart(ctx)
}

func loseMaster(ctx context.Context, t *trial) error {
	master, replica, err := t.pair(ctx)
	if err != nil {
		return err
	}
	return t.lose(ctx, master, replica, t.awhile(ctx))
}

func loseWhileGone(ctx context.Context, t *trial) error {
	master, replica, err := t.pair(ctx)
	if err != nil {
		return err
	}
	kill := t.r.IntN(2) == 0
	return t.lose(ctx, master, replica, func() error {
		if err := t.awhile(ctx)(); err != nil {
			return err
		}
		if kill {
			return t.killTool(ctx)
		}
		return t.terminateTool(ctx)
	})
}

// awhile waits for a second or two.
func (t *trial) awhile(ctx context.Context) func() error {
	return func() error { return pause(ctx, t.scaled(t.between(time.Second, 2*time.Second))) }
}

// lose cuts a replica off from its master, so that it misses what is written
// meanwhile, and makes it take over.
func (t *trial) lose(ctx context.Context, master, replica *sandbox.Server, meanwhile func() error) error {
	err := until(ctx, healLimit, replica.Addr+" is not linked to its master", func(ctx context.Context) (bool, error) {
		info, err := replica.Client().Info(ctx, "replication").Result()
		return field(info, "master_link_status") == "up", err
	})
	if err != nil {
		return err
	}
	if err := configure(ctx, "masterauth", "not this one", replica); err != nil {
		return err
	}
	if err := master.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
		return err
	}
	if err := meanwhile(); err != nil {
		return err
	}
	had, err := t.holds(ctx, master)
	if err != nil {
		return err
	}
	has, err := t.holds(ctx, replica)
	if err != nil {
		return err
	}
	t.lossy = had - has
	if err := t.hit(); err != nil { // what is lost after the tool has ended is not its affair
		return err
	}
	return t.killFor(ctx, master, replica)
}

// holds is what a replica may lack: keys, or where they change all the time
// bytes of its master's stream.
func (t *trial) holds(ctx context.Context, n *sandbox.Server) (int64, error) {
	if !t.living() {
		return n.Client().DBSize(ctx).Result()
	}
	info, err := n.Client().Info(ctx, "replication").Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(field(info, "master_repl_offset"), 10, 64)
}

// lost reports whether there was something to lose.
func (t *trial) lost() bool { return t.lossy > 0 }

// loading makes a master that was killed answer LOADING for a while. Its
// replica must not take over meanwhile.
func loading(ctx context.Context, t *trial) error {
	master, replica, err := t.pair(ctx)
	if err != nil {
		return err
	}
	keys, err := master.Client().DBSize(ctx).Result()
	if err != nil {
		return err
	}
	delay := strconv.FormatInt(max(1, loadLasts.Microseconds()/max(1, keys)), 10)
	err = errors.Join(
		configure(ctx, "cluster-replica-no-failover", "yes", replica),
		configure(ctx, "cluster-node-timeout", strconv.FormatInt(patient.Milliseconds(), 10), t.rig.cluster.Nodes...),
		configure(ctx, "key-load-delay", delay, master),
		master.Client().ConfigRewrite(ctx).Err(),
	)
	if err != nil {
		return err
	}
	if err := errors.Join(master.Kill(), master.Restart(ctx)); err != nil {
		return err
	}
	return errors.Join(configure(ctx, "key-load-delay", "0", master), master.Client().ConfigRewrite(ctx).Err())
}

// stop freezes a master, for less or more than what makes its replica take over.
func stop(ctx context.Context, t *trial, lasts time.Duration, long bool) error {
	master, replica, err := t.pair(ctx)
	if err != nil {
		return err
	}
	if !long {
		if err := configure(ctx, "cluster-node-timeout", strconv.FormatInt(patient.Milliseconds(), 10), t.rig.cluster.Nodes...); err != nil {
			return err
		}
	}
	if err := master.Pause(); err != nil {
		return err
	}
	begun := time.Now()
	if long {
		err = promoted(ctx, replica)
	}
	if err == nil {
		err = pause(ctx, lasts-time.Since(begun))
	}
	if err = errors.Join(err, master.Resume()); err != nil || long {
		return err
	}
	if took, err := isMaster(ctx, replica); took || err != nil {
		return errors.Join(fmt.Errorf("%s took over from a master that was stopped for %s only", replica.Addr, lasts), err)
	}
	return nil
}

func killAllClients(ctx context.Context, t *trial) error {
	for range 4 {
		all, err := t.rig.cluster.Masters(ctx)
		if err != nil {
			return err
		}
		for _, m := range all {
			if err := killClients(ctx, m); err != nil {
				return err
			}
		}
		if err := pause(ctx, t.between(50*time.Millisecond, 500*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// fillUp leaves a master a little room, until the tool has been held up for a
// while.
func fillUp(ctx context.Context, t *trial) error {
	m, err := t.anyMaster(ctx)
	if err != nil {
		return err
	}
	info, err := m.Client().Info(ctx, "memory").Result()
	if err != nil {
		return err
	}
	used, err := strconv.Atoi(field(info, "used_memory"))
	if err != nil {
		return err
	}
	if err := configure(ctx, "maxmemory-policy", "noeviction", m); err != nil {
		return err
	}
	room := roomInFull
	if t.living() { // whose values hardly grow
		room = -used / 10
	}
	if err := configure(ctx, "maxmemory", strconv.Itoa(used+room), m); err != nil {
		return err
	}
	if err := pause(ctx, t.between(3*time.Second, 5*time.Second)); err != nil {
		return err
	}
	if info, err = m.Client().Info(ctx, "errorstats").Result(); err != nil {
		return err
	}
	t.full = field(info, "errorstat_OOM") != ""
	return configure(ctx, "maxmemory", "0", m)
}
