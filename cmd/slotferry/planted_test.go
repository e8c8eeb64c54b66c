//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
)

// TestPlantedLinks has links stand where a run writes its own files. The one in
// place of the plan is replaced; those in the checkpoint's folder stop the run
// or are put aside. What they lead to stays as it is.
func TestPlantedLinks(t *testing.T) {
	src, dst := source(t, 300), emptyCluster(t)
	dir, outside := t.TempDir(), t.TempDir()
	precious := filepath.Join(outside, "precious")
	plant := func(path string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(precious, []byte("precious"), 0o600), os.Symlink(precious, path)); err != nil {
			t.Fatal(err)
		}
	}
	wantPrecious := func() {
		t.Helper()
		left, err := os.ReadDir(outside)
		if text, err2 := os.ReadFile(precious); err != nil || err2 != nil || string(text) != "precious" || len(left) != 1 {
			t.Errorf("the file outside is now %.100q, beside it %v (%v, %v)", text, left, err, err2)
		}
	}
	live := []string{"--source", "redis://" + src.Addr, "--target", dst.url}

	out := filepath.Join(dir, "plan.html")
	plant(out)
	slotferry(t, dir, append([]string{"plan", "--format=html", "--out", out}, live...)...).want(t, 0)
	wantPrecious()
	if info, err := os.Lstat(out); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the plan is %v (%v)", info, err)
	}

	place := filepath.Join(dir, "job")
	args := append([]string{"import", "--checkpoint", place}, live...)
	for _, name := range []string{"lock", "checkpoint.json"} {
		plant(filepath.Join(place, name))
		slotferry(t, dir, args...).want(t, 4, name+" is no plain file", "remove it")
		wantPrecious()
		if err := os.Remove(filepath.Join(place, name)); err != nil {
			t.Fatal(err)
		}
	}
	plant(filepath.Join(place, ".checkpoint.json.new"))
	slotferry(t, dir, args...).want(t, 0, "= written  300")
	wantPrecious()
	dst.wantEqual(t, src, dataset.CompareOptions{})
}
