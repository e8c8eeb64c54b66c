package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

// baked is a file with the commands for one master.
type baked struct {
	addr     string
	commands int
	bytes    int64
	file     *os.File
	buffer   *bufio.Writer
}

// bake writes the RESTORE commands of an RDB file, as the tool sends them, into
// one file a master.
func bake(ctx context.Context, src *source, table *route.Table, dir string) (_ []*baked, err error) {
	var all []*baked
	defer func() {
		if err != nil {
			discard(all)
		}
	}()
	for i, m := range table.Masters() {
		file, err := os.Create(filepath.Join(dir, "baked-"+strconv.Itoa(i)))
		if err != nil {
			return nil, fmt.Errorf("baking: %w", err)
		}
		all = append(all, &baked{addr: m.Addr, file: file, buffer: bufio.NewWriterSize(file, writeBytes)})
	}
	if err := walk(ctx, src.rdb, table, all); err != nil {
		return nil, fmt.Errorf("baking: %w", err)
	}
	for _, b := range all {
		if err := b.buffer.Flush(); err != nil {
			return nil, fmt.Errorf("baking: %w", err)
		}
		b.buffer = nil
	}
	return all, nil
}

func walk(ctx context.Context, rdb string, table *route.Table, out []*baked) error {
	in, err := os.Open(rdb)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	w, err := rdbparse.NewWalker(in, rdbparse.Options{Name: filepath.Base(rdb), BufferMax: 512 << 20})
	if err != nil {
		return err
	}
	var command []byte
	for {
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.Kind != rdbparse.KindKey {
			continue
		}
		i := table.Index(route.Slot(e.Key))
		if i < 0 {
			return route.ErrNoOwner
		}
		command = appendRestore(command[:0], e)
		if err := out[i].add(command); err != nil {
			return err
		}
	}
}

func (b *baked) add(command []byte) error {
	b.commands++
	b.bytes += int64(len(command))
	_, err := b.buffer.Write(command)
	return err
}

// appendRestore appends RESTORE key expiry payload REPLACE, with ABSTTL for a
// key that expires.
func appendRestore(dst []byte, e *rdbparse.Entry) []byte {
	words := 5
	if e.ExpireAt != 0 {
		words++
	}
	dst = resp.AppendArray(dst, words)
	dst = resp.AppendBulk(dst, []byte("RESTORE"))
	dst = resp.AppendBulk(dst, e.Key)
	dst = resp.AppendInt(dst, e.ExpireAt)
	const typeAndFooter = 1 + 10
	dst = resp.AppendBulkHead(dst, int64(len(e.Value))+typeAndFooter)
	dst = rdbparse.AppendPayload(dst, e.Type, e.Value, rdbparse.LowestVersion(e.Type))
	dst = append(dst, '\r', '\n')
	dst = resp.AppendBulk(dst, []byte("REPLACE"))
	if e.ExpireAt != 0 {
		dst = resp.AppendBulk(dst, []byte("ABSTTL"))
	}
	return dst
}

// discard closes and removes the files.
func discard(all []*baked) {
	for _, b := range all {
		_ = b.file.Close()
		_ = os.Remove(b.file.Name())
	}
}
