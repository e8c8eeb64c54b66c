package aof

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/source/rdb"
)

// Inspect opens the files and says what they are, by their beginnings.
func (s *Source) Inspect(ctx context.Context) (preflight.Source, preflight.Findings) {
	var found preflight.Findings
	facts := preflight.Source{Text: s.opts.Path, Measure: preflight.MeasureSerialized}
	if err := s.files.open(s.opts.Path); err != nil {
		found.Block("source_unreadable", "name an append-only file, or the folder of the server (CONFIG GET appenddirname) with its manifest and all files that it names, readable for this user", "%v", err)
		return facts, found
	}
	facts.Bytes = s.files.size()
	if facts.Bytes == 0 {
		found.Block("source_not_aof", "was the copy cut short, or the wrong file named?", "%s: the file holds nothing", s.opts.Path)
		return facts, found
	}
	id, err := s.files.identity(s.opts.Until)
	if err != nil {
		found.Block("source_unreadable", "see that the files can be read", "%v", err)
		return facts, found
	}
	base := s.files.parts[0]
	if base.preamble {
		s.base = s.walk(base.path, s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel)))
		own, more := s.base.Inspect(ctx)
		found = append(found, more...)
		s.written = own.Written
		facts.RDB, facts.Version, facts.Written, facts.Memory = own.RDB, own.Version, own.Written, own.Memory
	} else if err := s.commandAt(base); err != nil {
		found.Block("source_not_aof", "name an append-only file: it begins with an RDB or with a command", "%v", err)
	}
	facts.IDs = []string{fmt.Sprintf("aof:%s", id)}
	return facts, found
}

// walk returns a source for an RDB that lies in a file.
func (s *Source) walk(path string, log *zap.Logger) *rdb.Source {
	return rdb.New(rdb.Options{Path: path, Choice: s.opts.Choice, Measure: s.opts.Measure, Log: log})
}

// commandAt tells whether a file begins as commands do.
func (s *Source) commandAt(p *part) error {
	head := make([]byte, min(1, p.size))
	if _, err := p.file.ReadAt(head, 0); err != nil {
		return err
	}
	if len(head) > 0 && head[0] != '*' && head[0] != '#' {
		return fmt.Errorf("%s begins with %q, which neither an RDB nor a command does", p.path, head)
	}
	return nil
}
