package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func openFile(t *testing.T, dir string) *File {
	t.Helper()
	f, err := OpenFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(t.Context()) })
	return f
}

func TestFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "job")
	f := openFile(t, dir)
	ctx := t.Context()
	if _, err := f.Load(ctx); !errors.Is(err, ErrNone) {
		t.Errorf("Load of nothing: %v", err)
	}
	for runs := range 3 {
		c := sample()
		c.Runs = runs
		if err := f.Save(ctx, c); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(ctx); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("loaded %+v, %v", got, err)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{fileName, lockName}) {
		t.Errorf("the folder holds %q", got)
	}
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFileIsLocked(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, dir)
	if _, err := OpenFile(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second OpenFile: %v", err)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	openFile(t, dir)
}

// TestFileKeepsTheOldOne has a save that fails in the middle: the checkpoint
// that was there must be whole still.
func TestFileKeepsTheOldOne(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, dir)
	if err := f.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, tempName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(t.Context(), Checkpoint{}); err == nil {
		t.Fatal("saved in spite of all")
	}
	if got, err := f.Load(t.Context()); err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("loaded %+v, %v", got, err)
	}
	// A file that a killed run left there is no hindrance.
	if err := os.Remove(filepath.Join(dir, tempName)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, tempName), []byte("half a chec"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(t.Context(), Checkpoint{Job: "b"}); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Load(t.Context()); err != nil || got.Job != "b" {
		t.Errorf("loaded %+v, %v", got, err)
	}
}

func TestFileDamaged(t *testing.T) {
	data := encoded(t, sample())
	flipped := slices.Clone(data)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{"empty": {}, "cut": data[:len(data)/2], "flipped": flipped, "zeros": make([]byte, len(data))} {
		f := openFile(t, t.TempDir())
		if err := os.WriteFile(f.String(), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), f.String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := openFile(t, t.TempDir())
	if err := os.Mkdir(f.String(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(t.Context()); err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, ErrNone) {
		t.Errorf("a folder in its place: %v", err)
	}
}

func TestOpenFileFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(filepath.Join(path, "job")); err == nil {
		t.Error("made a folder in a file")
	}
}
