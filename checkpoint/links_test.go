package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// TestPlantedNames has something else stand where one of the store's files
// belongs, as somebody would who wants the tool to write into a file of another
// folder. No such file may change, and none may come into being.
func TestPlantedNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need rights there that tests don't have")
	}
	plant := map[string]func(dir, outside, name string) error{
		"link":          func(dir, outside, name string) error { return os.Symlink(filepath.Join(outside, "precious"), name) },
		"dangling link": func(dir, outside, name string) error { return os.Symlink(filepath.Join(outside, "new"), name) },
		"hard link":     func(dir, outside, name string) error { return os.Link(filepath.Join(outside, "precious"), name) },
		"folder":        func(dir, outside, name string) error { return os.Mkdir(name, 0o700) },
	}
	// What is refused; everything else is put aside or, with the lock's file, only
	// locked. A folder is never removed.
	refused := map[string]string{
		"link as " + lockName: "lock", "dangling link as " + lockName: "lock", "folder as " + lockName: "lock",
		"link as " + fileName: "load", "dangling link as " + fileName: "load", "folder as " + fileName: "load",
		"hard link as " + fileName: "load", // not what was written
		"folder as " + tempName:    "save",
	}
	for how, plant := range plant {
		for _, name := range []string{lockName, fileName, tempName} {
			t.Run(how+" as "+name, func(t *testing.T) {
				dir, outside := filepath.Join(t.TempDir(), "job"), t.TempDir()
				precious := filepath.Join(outside, "precious")
				if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(precious, []byte("precious"), 0o640), plant(dir, outside, filepath.Join(dir, name))); err != nil {
					t.Fatal(err)
				}
				stage, err := use(t, dir)
				if want := refused[how+" as "+name]; stage != want {
					t.Errorf("stopped at %q with %v, want %q", stage, err, want)
				}
				if err != nil && (!strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), dir) || errors.Is(err, ErrNone) || errors.Is(err, ErrLocked)) {
					t.Errorf("error does not say what is wrong: %v", err)
				}
				info, err := os.Stat(precious)
				data, err2 := os.ReadFile(precious)
				if err != nil || err2 != nil || string(data) != "precious" || info.Mode().Perm() != 0o640 {
					t.Errorf("the file outside is now %q, %v (%v, %v)", data, info, err, err2)
				}
				if got := names(t, outside); !reflect.DeepEqual(got, []string{"precious"}) {
					t.Errorf("outside are now %q", got)
				}
			})
		}
	}
}

// use does with a folder what a run does, and returns where it was stopped.
func use(t *testing.T, dir string) (stage string, err error) {
	f, err := OpenFile(dir)
	if err != nil {
		return "lock", err
	}
	defer func() { _ = f.Close(t.Context()) }()
	if _, err := f.Load(t.Context()); err != nil && !errors.Is(err, ErrNone) {
		return "load", err
	}
	if err := f.Save(t.Context(), sample()); err != nil {
		return "save", err
	}
	got, err := f.Load(t.Context())
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("loaded %+v, %v", got, err)
	}
	info, err := os.Lstat(f.String())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the checkpoint is %v, %v", info.Mode(), err)
	}
	return "", nil
}

// TestFolderStaysTheSame has the folder's path lead somewhere else during a run.
func TestFolderStaysTheSame(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a folder in use can't be renamed there")
	}
	dir, moved, other := filepath.Join(t.TempDir(), "a", "job"), filepath.Join(t.TempDir(), "moved"), t.TempDir()
	f := openFile(t, dir)
	for _, made := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", made, info.Mode(), err)
		}
	}
	if err := errors.Join(os.Rename(dir, moved), os.Symlink(other, dir)); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, other); len(got) != 0 {
		t.Errorf("the other folder has %q", got)
	}
	if got := names(t, moved); !reflect.DeepEqual(got, []string{fileName, lockName}) {
		t.Errorf("the folder has %q", got)
	}
}
