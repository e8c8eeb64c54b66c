package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

// fault is one thing that goes wrong.
type fault struct {
	name, about string
	sources     []string      // what the tool reads when it is made; nil: each that stands still
	short       []string      // the same with --short; nil: it is left out
	runs        int           // for each source
	lasts       time.Duration // an import that nothing disturbs, the tool held back to that
	alone       bool          // masters have no replicas
	moves       bool          // slots, with the keys in them
	wears       bool          // the cluster is of no use afterwards
	args        []string      // further flags of the tool
	copying     bool          // of what is written to: made during the full copy, not behind it

	// from and to are the share of keys between which it is made; 0: early and
	// late.
	from, to float64

	before func(context.Context, *trial) error // what is made ready before the tool starts; nil: nothing
	strike func(context.Context, *trial) error // in the middle of the import
	met    func(*trial) bool                   // whether the tool has felt it, in the end; nil: surely
}

const (
	early, late       = 0.15, 0.6 // when faults are made
	earliest, tooLate = 0.1, 0.9  // when they must have been made
	usualLast         = 8 * time.Second
	shorter           = 0.4 // of the usual time, with --short
	usualRuns         = 3
)

// errMissed means that the fault was not made in the middle of the import.
var errMissed = errors.New("missed")

// faults are made in this order: those that need the same cluster together.
var faults = slices.Concat(toolFaults, networkFaults, sourceFaults, masterFaults, topologyFaults, aloneFaults, livingFaults)

func (f *fault) on(source string, short bool) bool {
	if short && f.short != nil {
		return slices.Contains(f.short, source)
	}
	return slices.Contains(f.of(), source)
}

// of is what the tool reads when it is made.
func (f *fault) of() []string {
	if f.sources == nil {
		return sourceKinds
	}
	return f.sources
}

// times is how often it is made for each source.
func (f *fault) times() int {
	if f.runs == 0 {
		return usualRuns
	}
	return f.runs
}

func (f *fault) replicas() int {
	if f.alone {
		return 0
	}
	return 1
}

// window is when it is made.
func (f *fault) window() (from, to float64) {
	if f.to == 0 {
		return early, late
	}
	return f.from, f.to
}
