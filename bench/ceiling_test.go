package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

func TestAppendRestore(t *testing.T) {
	for _, tc := range []struct {
		name  string
		entry rdbparse.Entry
		want  string
	}{
		{"permanent", rdbparse.Entry{Key: []byte("k"), Value: []byte("\x01v")}, "*5\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n0\r\n$13\r\n"},
		{"expiring", rdbparse.Entry{Key: []byte("k"), Value: []byte("\x01v"), ExpireAt: 42}, "*6\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$2\r\n42\r\n$13\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := appendRestore(nil, &tc.entry)
			if !bytes.HasPrefix(got, []byte(tc.want)) {
				t.Errorf("appendRestore = %q, want it to begin with %q", got, tc.want)
			}
			if n := bytes.Count(got, []byte("$6\r\nABSTTL\r\n")); (n == 1) != (tc.entry.ExpireAt != 0) {
				t.Errorf("ABSTTL comes %d times: %q", n, got)
			}
		})
	}
}

// The ceiling must carry everything, or it would be too low.
func TestCeilingCarriesAll(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	src, err := fill(ctx, dir, mixed, 3000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(src.server.Stop)
	to, err := startTarget(ctx, dir, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.cluster.Stop)
	all, err := bake(ctx, src, to.table, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discard(all) })
	if _, err := ceiling(ctx, all); err != nil {
		t.Fatal(err)
	}
	report, err := dataset.Compare(ctx, src.server.Client(), to.cluster.Client(), dataset.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		t.Error(report)
	}
	if err := to.empty(ctx); err != nil {
		t.Error(err)
	}
}

// A reply that isn't +OK must end the run with an error.
func TestCeilingRefusesErrors(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{Password: targetPassword})
	file, err := os.CreateTemp(t.TempDir(), "baked-")
	if err != nil {
		t.Fatal(err)
	}
	b := &baked{addr: server.Addr, file: file}
	t.Cleanup(func() { discard([]*baked{b}) })
	text := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n$4\r\nNONE\r\n"
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	b.commands, b.bytes = 2, int64(len(text))
	if took, err := ceiling(t.Context(), []*baked{b}); err == nil {
		t.Errorf("ceiling = %s without an error", took)
	}
}

func TestTableCoversAllSlots(t *testing.T) {
	to, err := startTarget(t.Context(), t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.cluster.Stop)
	if holes := to.table.Holes(); len(holes) != 0 {
		t.Errorf("slots without a master: %v", holes)
	}
	for i, n := range to.cluster.Nodes {
		owner, err := to.table.Owner(uint16(i * route.Slots / 2))
		if err != nil || owner.Addr != n.Addr {
			t.Errorf("owner of the first slot of %s = %v, %v", n.Addr, owner, err)
		}
	}
}
