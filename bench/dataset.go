package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
)

// dataSet is one kind of data to carry.
type dataSet struct {
	name, about string
	keys        func(asked int) int // of the number of keys asked for; nil: all of them
	fill        func(ctx context.Context, c *redis.Client, keys int) error
	goals       map[string]goals // by source

	// verifyMemory is what --memory of verify must be for the longest value; ""
	// for its default.
	verifyMemory string
}

// goals are the highest ratios wanted; 0 for none.
type goals struct {
	imported, plan float64 // to the ceiling
	verify         float64 // to the import
}

// dataSets are measured in this order. The goals are those of the design.
var dataSets = []dataSet{
	mixed,
	small,
	{
		name: "big",
		about: "values of 1 to 64 MiB: half of them strings that don't compress, a quarter hashes of some thousand fields " +
			"a MiB, a quarter lists",
		keys: bigKeys, fill: fillBig, verifyMemory: "2GiB",
	},
}

var mixed = dataSet{
	name: "mixed",
	about: "60 % strings of 16-512 bytes and a few of 64 KiB, 20 % hashes, 8 % lists, 6 % sets, 5 % sorted sets, " +
		"1 % streams with groups; large ones of every type among them; a tenth with an expiry",
	fill: fillWith(func(keys int) dataset.Options {
		o := dataset.Mixed(keys)
		o.Functions = false // the ceiling has none to carry
		return o
	}),
	goals: map[string]goals{
		viaRDB:  {imported: 1.1, plan: 0.35, verify: 1.5},
		viaScan: {imported: 2.8, verify: 1.5},
		viaSync: {imported: 2.3},
	},
}

var small = dataSet{
	name:  "small",
	about: "strings of 64 bytes without expiry",
	fill: fillWith(func(keys int) dataset.Options {
		return dataset.Options{Keys: keys, Seed: 1, StringBytes: 64, NoExpiry: true}
	}),
	goals: map[string]goals{
		viaRDB:  {imported: 1.15, plan: 0.35, verify: 1.5},
		viaScan: {verify: 1.5},
	},
}

func fillWith(options func(keys int) dataset.Options) func(context.Context, *redis.Client, int) error {
	return func(ctx context.Context, c *redis.Client, keys int) error {
		_, err := dataset.Fill(ctx, c, options(keys))
		return err
	}
}

// size is how many keys the data set has where so many are asked for.
func (s dataSet) size(asked int) int {
	if s.keys == nil {
		return asked
	}
	return s.keys(asked)
}
