package rdb

import (
	"os"

	"github.com/slotferry/slotferry/importer/pulse"
)

// Pulse tells whether bytes come, and since when they don't.
func (s *Source) Pulse() *pulse.Pulse { return &s.pulse }

// owes is a wait for more of the file or stream.
func (s *Source) owes() pulse.Wait {
	w := pulse.Wait{On: s.name, What: "more of the file", Remedy: "see that the disk or the network share that the file lies on answers"}
	if s.opts.Stream != nil {
		w.What, w.Remedy = "more of the RDB", "see that the program that writes to it is at work still"
	}
	return w
}

// file is a file whose reads are watched: a network share may hang.
type file struct {
	*os.File
	pulse *pulse.Pulse
	wait  pulse.Wait
}

func (s *Source) watched(f *os.File) *file { return &file{f, &s.pulse, s.owes()} }

func (f *file) Read(b []byte) (int, error) {
	return f.tell(func() (int, error) { return f.File.Read(b) })
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	return f.tell(func() (int, error) { return f.File.ReadAt(b, off) })
}

func (f *file) tell(read func() (int, error)) (int, error) {
	w := f.pulse.Begin(f.wait)
	n, err := read()
	f.pulse.End(w)
	f.pulse.Move(n)
	return n, err
}
