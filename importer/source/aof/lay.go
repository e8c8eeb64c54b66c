package aof

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/resp"
)

// Names in the scratch server's folder.
const (
	appendName = "appendonly.aof"
	appendDir  = "appendonlydir"
	dumpName   = "scratch.rdb"
)

// lay puts what the scratch server is to load into its folder. The server may
// write to the last file, and a live one may append to it still: that one is
// always a copy, up to where the commands end.
func (s *Source) lay(ctx context.Context, dir string, sum *reviewed, manifest bool) error {
	var parts []*part
	for _, p := range s.files.parts {
		if p.start == 0 || p.start < sum.end {
			parts = append(parts, p)
		}
	}
	if !manifest {
		return s.join(ctx, filepath.Join(dir, appendName), parts, sum.end)
	}
	folder := filepath.Join(dir, appendDir)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	var text strings.Builder
	for i, p := range parts {
		name := fmt.Sprintf("%s.%d.incr.aof", appendName, i)
		if i == 0 {
			name = appendName + ".1.base.aof"
			fmt.Fprintf(&text, "file %s seq 1 type b\n", name)
		} else {
			fmt.Fprintf(&text, "file %s seq %d type i\n", name, i)
		}
		to := filepath.Join(folder, name)
		if i < len(parts)-1 && p.linked(to) {
			continue
		}
		if err := s.join(ctx, to, parts[i:i+1], sum.end); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, appendName+".manifest"), []byte(text.String()), 0o600)
}

// linked gives a file another name, which costs nothing, if the system does that
// and the file still bears its name.
func (p *part) linked(to string) bool {
	if os.Link(p.path, to) != nil {
		return false
	}
	opened, err := p.file.Stat()
	if err == nil {
		var made os.FileInfo
		if made, err = os.Stat(to); err == nil && os.SameFile(opened, made) && made.Size() == p.size {
			return true
		}
	}
	_ = os.Remove(to)
	return false
}

// join copies files into one, as servers before 7.0 have it.
func (s *Source) join(ctx context.Context, to string, parts []*part, end int64) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	for i, p := range parts {
		if i > 0 {
			// Each file is read with database 0 selected.
			if _, err := out.Write(resp.AppendCommand(nil, "SELECT", "0")); err != nil {
				return err
			}
		}
		left := min(p.end(), end) - p.start
		if _, err := p.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		for left > 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			const piece = 64 << 20
			wait := s.pulse.Begin(pulse.Wait{On: to, What: "the copy of a file", Remedy: "see that the disk answers"})
			n, err := io.CopyN(out, p.file, min(left, piece))
			s.pulse.End(wait)
			s.pulse.Move(int(n))
			if err != nil {
				return fmt.Errorf("%s: %w", p.path, err)
			}
			left -= n
		}
	}
	return nil
}
