package importer_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// TestSweep leaves a temporary key as a killed run would: a resumed run removes
// it, and so does one that begins anew.
func TestSweep(t *testing.T) {
	tag := 1
	for route.Slot([]byte(strconv.Itoa(tag))) != 0 {
		tag++
	}
	const job = "e3b0c442" // the hash of no name
	left := fmt.Sprintf("%s%d}:%s", checkpoint.TempPrefix, tag, job)
	for _, restart := range []bool{false, true} {
		c := emptyCluster(t)
		src := source(t, sandbox.Options{})
		_, err := dataset.Fill(t.Context(), src.Client(), dataset.Mixed(1000))
		must(t, err)
		r := run{from: fromServer(src), dir: t.TempDir(), stop: 300}
		r.do(t).wantInterrupted(t)
		must(t, c.Client().Set(t.Context(), left, "half", 0).Err())
		r.stop, r.restart = 0, restart
		if restart {
			r.policy = importer.Replace
		}
		out := r.do(t)
		must(t, out.err)
		if n := c.Client().Exists(t.Context(), left).Val(); n != 0 {
			t.Errorf("restart=%t: %q is left", restart, left)
		}
	}
}
