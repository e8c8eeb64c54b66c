//go:build linux

package main

import (
	"os/exec"
	"testing"
)

// onDisk runs an import whose checkpoint lies on a small file system of its own,
// in a mount namespace that ends with it.
func onDisk(t *testing.T, options, checkpoint string, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	cmd := command(t, dir, args...)
	script := `mkdir -p disk && mount -t tmpfs -o ` + options + ` none disk && shift && exec "$@" --checkpoint disk/` + checkpoint
	words := append([]string{"--map-root-user", "--mount", "sh", "-c", script, "sh", "--"}, cmd.Args...)
	inside := exec.Command("unshare", words...)
	inside.Dir, inside.Env = cmd.Dir, cmd.Env
	return finish(t, inside, nil)
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("unshare", "--map-root-user", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("this system lets nobody mount a small file system to fill: %s", out)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	needNamespaces(t)
	src, dst := source(t, 200), emptyCluster(t)
	r := onDisk(t, "ro", "job", "import", "--source", save(t, src), "--target", dst.url)
	r.want(t, 4, "checkpoint_unusable", "read-only file system", "--checkpoint DIR")
	if n := dst.keys(t); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

func TestFullDisk(t *testing.T) {
	needNamespaces(t)
	src, dst := source(t, 5000), emptyCluster(t)
	from := save(t, src)
	t.Run("from the start", func(t *testing.T) { // room for the folder and its lock only
		r := onDisk(t, "size=4k,nr_inodes=3", "job", "import", "--source", from, "--target", dst.url)
		r.want(t, 4, "checkpoint_unusable", "no space left on device", "--checkpoint DIR")
		if n := dst.keys(t); n != 0 {
			t.Errorf("%d keys were written", n)
		}
	})
	t.Run("later", func(t *testing.T) { // room for one checkpoint, not for the next beside it
		r := onDisk(t, "size=4k", "job", "import", "--source", from, "--target", dst.url)
		r.want(t, 75, "the last checkpoint can't be saved", "no space left on device", "Run the same command again")
	})
}
