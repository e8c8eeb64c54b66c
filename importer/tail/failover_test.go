package tail

import (
	"errors"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// TestFailover kills masters under the load. What a replica that takes over had
// not got yet, the Applier has to find out, and say from where the commands must
// come again.
func TestFailover(t *testing.T) {
	r := newRig(t, 1)
	t.Run("nothing lost", func(t *testing.T) { failover(t, r, false) })
	t.Run("a replica that lacks the last blocks", func(t *testing.T) { failover(t, r, true) })
	t.Run("a master that comes back empty", func(t *testing.T) { emptied(t, r) })
}

func failover(t *testing.T, r *rig, behind bool) {
	masters, err := r.nodes.Masters(t.Context())
	if err != nil || len(masters) != 3 {
		t.Fatal(masters, err)
	}
	from := r.clean(t, t.Name())
	o := r.options(t)
	u := r.begin(t, o, from, true)
	r.write(t, 500, 4000, 60)
	u.follow(t)
	victim := masters[0]
	replicas, err := r.nodes.Replicas(t.Context(), victim)
	if err != nil || len(replicas) != 1 {
		t.Fatal(replicas, err)
	}
	heir := replicas[0]
	inSync(t, victim, heir)
	if behind { // it hears no more of what its master takes
		for _, words := range [][]any{{"ACL", "SETUSER", "default", "-psync", "-sync"}, {"CLIENT", "KILL", "TYPE", "replica"}} {
			if err := victim.Client().Do(t.Context(), words...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the replica alone", func() bool {
			return strings.Contains(victim.Client().Info(t.Context(), "replication").Val(), "connected_slaves:0")
		})
		r.write(t, 501, 2000, 60)
		u.follow(t)
	}
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	// A takeover on request: the masters that are left might find the replica's
	// data too old.
	eventually(t, "the replica to take over", func() bool {
		heir.Client().Do(t.Context(), "CLUSTER", "FAILOVER", "TAKEOVER")
		return strings.Contains(heir.Client().Info(t.Context(), "replication").Val(), "role:master")
	})
	r.write(t, 502, 4000, 60)
	end := r.reach(t)
	err = u.give(end)
	if err == nil {
		err = u.Drain(t.Context())
	}
	var why *BehindError
	if errors.As(err, &why) {
		switch {
		case !behind:
			t.Fatal("nothing was lost, and yet", why)
		case why.Addr != heir.Addr || why.Slots == 0 || why.Serial < from.Serial || why.Serial >= end:
			t.Errorf("%+v", why)
		}
		behind = false
		u.crash()
		u = r.begin(t, o, record.Position{Stream: "history", Era: from.Era, Serial: why.Serial}, false)
		if err = u.give(end); err == nil {
			err = u.Drain(t.Context())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if behind {
		t.Error("nobody saw that something was lost")
	}
	r.equal(t)
	u.finish(t)
	if err := victim.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.nodes.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// emptied takes from a master all that it had, while nobody looks.
func emptied(t *testing.T, r *rig) {
	u := r.begin(t, r.options(t), r.clean(t, "emptied"), true)
	r.write(t, 600, 2000, 60)
	u.follow(t)
	masters, err := r.nodes.Masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	victim := masters[1]
	if err := victim.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	victim.Client().Do(t.Context(), "CONFIG", "SET", "save", "")
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := victim.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.write(t, 601, 2000, 60)
	err = u.give(r.reach(t))
	if err == nil {
		err = u.Drain(t.Context())
	}
	if !errors.Is(err, ErrResync) {
		t.Errorf("a master lost everything, and it ended with %v", err)
	}
}

func inSync(t *testing.T, master, replica *sandbox.Server) {
	t.Helper()
	eventually(t, "a replica in sync", func() bool {
		theirs := replica.Client().InfoMap(t.Context(), "replication").Val()["Replication"]
		ours := master.Client().InfoMap(t.Context(), "replication").Val()["Replication"]
		return theirs["master_link_status"] == "up" && theirs["slave_repl_offset"] == ours["master_repl_offset"]
	})
}
