package aof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/resp"
)

// truncatedError is a file that ends within a command.
type truncatedError struct {
	path  string
	place int64 // over all files, where that command begins
	local int64
}

func (e *truncatedError) Error() string {
	return fmt.Sprintf("%s at %d: the file ends within a command", e.path, e.local)
}

// errLong is a command longer than Options.MaxCommand.
var errLong = errors.New("a command that is too long to be held in memory")

// reader reads commands from one place of the files to another.
type reader struct {
	files *files
	pulse *pulse.Pulse
	max   int64
	end   int64
	stamp func(seconds int64) // told of each "#TS:" line, before the command behind it

	part   *part
	from   int64 // place of the first byte that commands was given
	input  *resp.CommandReader
	place  int64 // behind the last command
	looked int
}

const checkEvery = 1024 // commands between looks whether to go on

// next returns the next command, io.EOF at the end. fresh tells that it is the
// first one of its file: the servers read each file with database 0 selected.
func (r *reader) next(ctx context.Context) (words [][]byte, raw []byte, fresh bool, err error) {
	if r.looked++; r.looked%checkEvery == 0 && ctx.Err() != nil {
		return nil, nil, false, context.Cause(ctx)
	}
	for {
		if r.input == nil {
			if r.place >= r.end {
				return nil, nil, false, io.EOF
			}
			fresh = r.open()
		}
		words, raw, err = r.input.Next()
		r.place = r.from + r.input.Offset()
		switch {
		case err == nil:
			return words, raw, fresh, nil
		case errors.Is(err, io.EOF):
			r.place = min(r.part.end(), r.end)
			r.input = nil
		default:
			return nil, nil, false, r.failed(err)
		}
	}
}

// open begins with the file that place is in, and tells whether with all of it.
func (r *reader) open() (whole bool) {
	part, local := r.files.at(r.place)
	r.part = part
	r.from = r.place
	source := io.NewSectionReader(r.part.file, local, min(r.part.end(), r.end)-r.place)
	r.input = resp.NewCommandReader(&pulse.Reader{R: source, Pulse: r.pulse, Wait: owes(r.part.path)}, r.max)
	if r.stamp != nil {
		r.input.Annotation = r.annotation
	}
	return local == 0
}

func owes(path string) pulse.Wait {
	return pulse.Wait{On: path, What: "more of the file", Remedy: "see that the disk or the network share that the file lies on answers"}
}

func (r *reader) annotation(line []byte) {
	text, ok := bytes.CutPrefix(line, []byte("#TS:"))
	if !ok {
		return
	}
	if at, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		r.stamp(at)
	}
}

// failed says where something is wrong, and what.
func (r *reader) failed(err error) error {
	local := r.place - r.part.start
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &truncatedError{path: r.part.path, place: r.place, local: local}
	case errors.Is(err, resp.ErrProtocol):
		return fmt.Errorf("%s at %d: the file is damaged: no command begins there, or it does not end as it should", r.part.path, local)
	case errors.Is(err, resp.ErrTooLarge):
		return fmt.Errorf("%s at %d: %w", r.part.path, local, errLong)
	}
	return fmt.Errorf("%s at %d: %w", r.part.path, local, err)
}

// isWord compares a word with one in upper case.
func isWord(word []byte, want string) bool {
	return len(word) == len(want) && bytes.EqualFold(word, []byte(want))
}

// selected returns the database that a SELECT selects.
func selected(words [][]byte, e *effect.Effect) (int, bool) {
	if len(words) != 2 || !isWord(words[0], "SELECT") {
		return 0, false
	}
	if err := effect.Of(words, 0, e); err != nil || e.Kind != effect.Select {
		return 0, false
	}
	return e.DB, true
}
