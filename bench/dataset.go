package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// dataSet is one kind of data to carry.
type dataSet struct {
	name, about string
	options     func(keys int) dataset.Options
	goals       map[string]float64 // highest ratio to the ceiling wanted, by source
}

// dataSets are measured in this order. The goals are those of the design.
var dataSets = []dataSet{
	{
		name: "mixed",
		about: "60 % strings of 16-512 bytes and a few of 64 KiB, 20 % hashes, 8 % lists, 6 % sets, 5 % sorted sets, " +
			"1 % streams with groups; large ones of every type among them; a tenth with an expiry",
		options: func(keys int) dataset.Options {
			o := dataset.Mixed(keys)
			o.Functions = false // the ceiling has none to carry
			return o
		},
		goals: map[string]float64{viaRDB: 1.1, viaScan: 2.8},
	},
	{
		name:  "small",
		about: "strings of 64 bytes without expiry",
		options: func(keys int) dataset.Options {
			return dataset.Options{Keys: keys, Seed: 1, StringBytes: 64, NoExpiry: true}
		},
		goals: map[string]float64{viaRDB: 1.15},
	},
}

// source is a filled server and the file that it saved.
type source struct {
	server *sandbox.Server
	rdb    string
	bytes  int64 // of the file
	keys   int64
}

// fill starts a server, fills it and keeps its RDB file, which outlives it.
func fill(ctx context.Context, dir string, s dataSet, keys int) (_ *source, err error) {
	server, err := sandbox.Start(ctx, sandbox.Options{Dir: dir, Password: sourcePassword})
	if err != nil {
		return nil, fmt.Errorf("starting the source: %w", err)
	}
	defer func() {
		if err != nil {
			server.Stop()
		}
	}()
	stats, err := dataset.Fill(ctx, server.Client(), s.options(keys))
	if err != nil {
		return nil, err
	}
	saved, err := server.Save(ctx)
	if err != nil {
		return nil, err
	}
	src := &source{server: server, rdb: filepath.Join(dir, s.name+".rdb")}
	if err := os.Rename(saved, src.rdb); err != nil {
		return nil, fmt.Errorf("keeping the RDB file: %w", err)
	}
	info, err := os.Stat(src.rdb)
	if err != nil {
		return nil, err
	}
	src.bytes = info.Size()
	if src.keys, err = server.Client().DBSize(ctx).Result(); err != nil {
		return nil, fmt.Errorf("counting the source's keys: %w", err)
	}
	if src.keys != int64(stats.Keys) {
		return nil, fmt.Errorf("the source holds %d keys, %d were written", src.keys, stats.Keys)
	}
	return src, nil
}

// processorTime is what the thread that answers has spent since the server
// started: 0 when the server has ended or doesn't tell (before 6.2).
func (s *source) processorTime(ctx context.Context) (time.Duration, error) {
	if !s.server.Running() {
		return 0, nil
	}
	t, err := processorTime(ctx, s.server.Client(), mainThread)
	if errors.Is(err, errNoField) {
		return 0, nil
	}
	return t, err
}
