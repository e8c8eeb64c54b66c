package tail

import (
	"testing"
)

func TestApply(t *testing.T) {
	r := newRig(t, 0)
	t.Run("every command once", func(t *testing.T) {
		from := r.clean(t, "plain")
		u := r.begin(t, r.options(t), from, true)
		for seed := range uint64(4) {
			r.write(t, seed, 5000, 100)
			u.follow(t)
			r.equal(t)
		}
		n := u.Counts()
		t.Logf("%+v", n)
		if n.Applied == 0 || n.Reread == 0 || n.Split == 0 || n.Torn == 0 || n.Transactions <= n.Torn || n.Failed > 0 {
			t.Errorf("the load did not do what it is for: %+v", n)
		}
		u.finish(t)
		r.equal(t)
	})
}
