package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// small is a spool with little memory and short files.
func small(t *testing.T, limit int64) *Spool {
	t.Helper()
	s, err := New(t.TempDir(), limit, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.ring, s.segment, s.retry = newRing(1000), 700, time.Millisecond
	return s
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// write puts all of p in, by pieces of up to most bytes, and ends.
func write(s *Spool, p []byte, most int) error {
	for len(p) > 0 {
		n := min(len(p), 1+rand.IntN(most))
		if k, err := s.Write(p[:n]); err != nil || k != n {
			return errors.Join(err, io.ErrShortWrite)
		}
		p = p[n:]
	}
	s.CloseWrite(nil)
	return nil
}

// rest reads to the end, by pieces of up to most bytes.
func rest(s *Spool, most int) ([]byte, error) {
	var got []byte
	piece := make([]byte, most)
	for {
		n, err := s.Read(piece[:1+rand.IntN(most)])
		got = append(got, piece[:n]...)
		if err != nil {
			return got, err
		}
	}
}

func TestOrder(t *testing.T) {
	for _, tc := range []struct {
		name        string
		limit       int64
		write, read int
	}{
		{"no disk", 0, 3000, 3000},
		{"small pieces", 2000, 50, 50},
		{"slow reader", 5000, 3000, 40},
		{"slow writer", 5000, 40, 3000},
		{"less disk than a file", 300, 500, 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, want := small(t, tc.limit), noise(300_000)
			done := make(chan error)
			go func() { done <- write(s, want, tc.write) }()
			got, err := rest(s, tc.read)
			if err != io.EOF || !bytes.Equal(got, want) {
				t.Errorf("%d of %d bytes, the same: %t, %v", len(got), len(want), bytes.Equal(got, want), err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if s.Buffered() != 0 || len(s.files.list) != 0 || s.Written() != int64(len(want)) {
				t.Errorf("%d bytes and %d files are left of %d", s.Buffered(), len(s.files.list), s.Written())
			}
		})
	}
}

// TestReaderKeepsUp must not touch the disk.
func TestReaderKeepsUp(t *testing.T) {
	s := small(t, 1<<20)
	s.open = func() (*file, error) { return nil, errors.New("the disk was used") }
	piece := noise(900)
	for range 100 {
		if _, err := s.Write(piece); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatal("other bytes", err)
		}
	}
}

// until waits for something that another goroutine does.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 10_000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("not seen: %s", what)
}

func TestLimit(t *testing.T) {
	s, want := small(t, 2500), noise(50_000)
	done := make(chan error)
	go func() { done <- write(s, want, 400) }()
	until(t, "a writer that waits", func() bool { return s.Full() != "" })
	if s.Buffered() != 3500 || s.files.held() != 2500 {
		t.Errorf("%d bytes, %d of them on the disk, when the writer waits", s.Buffered(), s.files.held())
	}
	if !strings.Contains(s.Full(), "all that it may") {
		t.Errorf("it says %q", s.Full())
	}
	got, err := rest(s, 100)
	if err != io.EOF || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	if err := <-done; err != nil || s.Full() != "" {
		t.Error(err, s.Full())
	}
}

// TestDiskFull has a device that is always full in place of some of the files,
// and then a disk that takes a part.
func TestDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /dev/full")
	}
	s, want := small(t, 20_000), noise(15_000)
	opened := 0
	good := s.open
	full := make(chan struct{})
	s.open = func() (*file, error) {
		opened++
		if opened > 3 && opened < 10 {
			if opened == 7 {
				close(full)
			}
			f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
			return &file{File: f}, err
		}
		return good()
	}
	done := make(chan error)
	go func() { done <- write(s, want, 400) }()
	<-full
	if why := s.Full(); !strings.Contains(why, "no space left") {
		t.Errorf("it says %q", why)
	}
	got, err := rest(s, 300)
	if err != io.EOF || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDiskFails(t *testing.T) {
	s := small(t, 1<<20)
	s.open = func() (*file, error) { return nil, os.ErrPermission }
	n, err := s.Write(noise(1500))
	if n != 1000 || !errors.Is(err, os.ErrPermission) {
		t.Errorf("%d bytes, %v", n, err)
	}
	blocked := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(blocked, 1, nil); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func TestCutAndEnd(t *testing.T) {
	s := small(t, 1<<20)
	gone := errors.New("gone")
	for _, part := range []string{"", strings.Repeat("a", 1500), "b", ""} {
		if _, err := s.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		s.Cut()
	}
	if _, err := s.Write([]byte("rest")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(gone)
	s.CloseWrite(nil)
	if _, err := s.Write([]byte("more")); !errors.Is(err, ErrClosed) {
		t.Errorf("written behind the end: %v", err)
	}
	for _, want := range []int{0, 1500, 1, 0} {
		if got, err := io.ReadAll(s); err != nil || len(got) != want {
			t.Errorf("a section of %d bytes, want %d; %v", len(got), want, err)
		}
	}
	if got, err := io.ReadAll(s); string(got) != "rest" || !errors.Is(err, gone) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAwait waits for bytes, and for nothing.
func TestAwait(t *testing.T) {
	s := small(t, 0)
	if s.Await(time.Millisecond) {
		t.Error("there is nothing to read")
	}
	go func() { _, _ = s.Write([]byte("a")) }()
	if !s.Await(time.Minute) {
		t.Error("a byte was not seen")
	}
}

func TestCloseWakes(t *testing.T) {
	s := small(t, 100)
	errs := make(chan error)
	go func() { errs <- write(s, noise(5000), 100) }()
	until(t, "a writer that waits", func() bool { return s.Full() != "" })
	empty := small(t, 0)
	go func() {
		_, err := empty.Read(make([]byte, 1))
		errs <- err
	}()
	if err := errors.Join(s.Close(), empty.Close()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// TestNothingIsLeft looks into the folder while the spool is in use, and finds
// what another system's killed process may have left there swept.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"slotferry-spool-1.tmp", "other.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(dir, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.ring = newRing(10)
	if _, err := s.Write(noise(1000)); err != nil || s.files.held() != 990 {
		t.Fatal(s.files.held(), err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || runtime.GOOS != "windows" && (len(left) != 1 || left[0].Name() != "other.tmp") {
		t.Error(left, err)
	}
}

func BenchmarkThroughMemory(b *testing.B) { benchmark(b, 0) }

// BenchmarkThroughDisk has a reader that is behind, so that all goes through
// files.
func BenchmarkThroughDisk(b *testing.B) { benchmark(b, 64<<20) }

func benchmark(b *testing.B, behind int) {
	s, err := New(b.TempDir(), 1<<30, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	piece := make([]byte, 256<<10)
	for range behind / len(piece) {
		_, _ = s.Write(piece)
	}
	got := make([]byte, len(piece))
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(piece); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, got); err != nil {
			b.Fatal(err)
		}
	}
}
