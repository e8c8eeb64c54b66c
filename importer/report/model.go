// Package report is the plan of an import: how a data set will lie on a
// cluster's slots and masters, what is large or uneven in it, and what stands in
// the way. A Counter gathers it key by key in bounded memory; the result is
// written as JSON, as text or as one HTML page. It reads no source and knows no
// server.
package report

import (
	"time"

	"github.com/slotferry/slotferry/importer/preflight"
)

// Format is the version of the JSON. It grows when a field changes its meaning
// or goes; new fields alone leave it as it is.
const Format = 1

// Plan is the report of one data set on one cluster, real or imagined. Bytes
// are those of the serialized values and the keys' names, unless
// Source.Measure says otherwise. Keys that would not travel (filtered, expired)
// are in Filtered and Expired only.
type Plan struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	Source  Source    `json:"source"`
	Target  Target    `json:"target"`

	Keys     int64 `json:"keys"`
	Bytes    int64 `json:"bytes"`
	Expired  int64 `json:"expired"`
	Filtered int64 `json:"filtered"`
	Refused  int64 `json:"refused"` // could not be read or can't travel; Blockers say why

	Slots   []Slot   `json:"slots"` // those with keys, ascending
	Masters []Master `json:"masters"`
	Skew    Skew     `json:"skew"`

	Types     map[string]int64 `json:"types"`
	Encodings []Encoding       `json:"encodings"` // most bytes first
	Databases map[string]int64 `json:"databases"` // number → keys that would travel

	HashTags []Tag    `json:"hash_tags"` // most bytes first: the ShownTags with most bytes, the TagsByKeys with most keys
	BigKeys  []BigKey `json:"big_keys"`  // most bytes first, ShownKeys at most
	Prefixes []Prefix `json:"prefixes"`  // most bytes first, ShownPrefixes at most
	TTL      TTL      `json:"ttl"`

	// Separator is what ends a part of a name, "" when names have none;
	// PrefixDepth is how many parts a prefix has, 0 without a separator.
	Separator   string `json:"separator"`
	PrefixDepth int    `json:"prefix_depth"`
	// PrefixesExact and HashTagsExact tell whether all of them could be counted
	// to the end. If not, those listed may be short by up to the error given, in
	// bytes and in keys, and smaller ones may be missing.
	PrefixesExact     bool  `json:"prefixes_exact"`
	PrefixesError     int64 `json:"prefixes_error,omitempty"`
	PrefixesErrorKeys int64 `json:"prefixes_error_keys,omitempty"`
	HashTagsExact     bool  `json:"hash_tags_exact"`
	HashTagsError     int64 `json:"hash_tags_error,omitempty"`
	HashTagsErrorKeys int64 `json:"hash_tags_error_keys,omitempty"`

	// Collisions is how many keys would be written over by another one of the
	// same new name. CollisionsExact is false when there was not memory enough to
	// find them all.
	Collisions      int64 `json:"collisions"`
	CollisionsExact bool  `json:"collisions_exact"`

	Blockers preflight.Findings `json:"blockers"`
	Warnings preflight.Findings `json:"warnings"`
	Estimate Estimate           `json:"estimate"`
}

// How many are listed at most.
const (
	ShownTags     = 100
	TagsByKeys    = 25
	ShownKeys     = 100
	ShownPrefixes = 50
)

// Ready reports whether nothing stands in the way.
func (p *Plan) Ready() bool { return len(p.Blockers) == 0 }

// Source is what was read.
type Source struct {
	Text    string  `json:"text"` // as the operator named it, without password
	Kind    string  `json:"kind"` // rdb, stdin or redis
	Version string  `json:"version,omitempty"`
	RDB     int     `json:"rdb"`               // RDB version of its values
	Size    int64   `json:"size,omitempty"`    // of the file in bytes
	Measure string  `json:"measure"`           // what Bytes are: MeasureSerialized or MeasureMemory
	Memory  int64   `json:"memory,omitempty"`  // that the data took or takes on the source, in bytes; 0 if not known
	Seconds float64 `json:"seconds,omitempty"` // that reading it for this plan took
}

// What Bytes are.
const (
	MeasureSerialized = "serialized"   // the length of the serialized value
	MeasureMemory     = "memory_usage" // what MEMORY USAGE says, which samples large collections
)

// Target is the cluster.
type Target struct {
	Text      string `json:"text"`
	Simulated bool   `json:"simulated"`         // there is none yet: the slots are split evenly
	Version   string `json:"version,omitempty"` // of the oldest master
	RDB       int    `json:"rdb,omitempty"`     // highest RDB version that all masters take; 0 if not known
	MaxBulk   int64  `json:"proto_max_bulk_len"`
}

// Slot is one of the 16384.
type Slot struct {
	Slot  int   `json:"slot"`
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"`
}

// Master is one master's share.
type Master struct {
	ID    string `json:"id"`
	Addr  string `json:"addr"`
	Slots int    `json:"slots"` // that it owns
	// Ranges are those slots: the first and the last one of each run, ascending.
	Ranges [][2]int `json:"ranges,omitempty"`
	Keys   int64    `json:"keys"`
	Bytes  int64    `json:"bytes"`
	// Needs is the memory that its share will take, by the source's own use of
	// memory; Free is what it has below maxmemory. Both in bytes, 0 if not known.
	Needs int64 `json:"memory_needed,omitempty"`
	Free  int64 `json:"memory_free,omitempty"`
}

// Skew is the fullest master's share by the mean, 1 when all are even, 0
// without keys.
type Skew struct {
	Keys  float64 `json:"keys"`
	Bytes float64 `json:"bytes"`
}

// Encoding is one way in which values of a type are stored.
type Encoding struct {
	Type     string `json:"type"`
	Encoding string `json:"encoding"`
	Keys     int64  `json:"keys"`
	Bytes    int64  `json:"bytes"`
}

// Text is a name of bytes. In JSON it is a string; where it is not valid UTF-8
// the field's name ends with _base64 and so it is written.
type Text []byte

// Tag is a hash tag: what stands in the first braces of keys, which puts them
// all into one slot.
type Tag struct {
	Tag   Text  `json:"tag"`
	Slot  int   `json:"slot"`
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"`
}

// BigKey is one of the largest keys. Key is its name in the source, shortened if
// very long.
type BigKey struct {
	Key    Text   `json:"key"`
	DB     int    `json:"db"`
	Type   string `json:"type"`
	Bytes  int64  `json:"bytes"`
	Slot   int    `json:"slot"`
	Master string `json:"master"` // its address
	// Fits tells whether the target takes it, in one word (proto-max-bulk-len) or rebuilt in parts;
	// Seconds is how long it is on its way, and InTime whether that is within
	// --retry-for.
	Fits    bool    `json:"fits_bulk"`
	InTime  bool    `json:"fits_retry_for"`
	Seconds float64 `json:"seconds"`
}

// Prefix is what keys' names begin with in the target, up to and with the
// separator.
type Prefix struct {
	Prefix Text  `json:"prefix"`
	Keys   int64 `json:"keys"`
	Bytes  int64 `json:"bytes"`
}

// TTL counts keys by the time that they have left: none, up to an hour, up to a
// day, and so on.
type TTL struct {
	None int64 `json:"none"`
	Hour int64 `json:"1h"`
	Day  int64 `json:"1d"`
	Week int64 `json:"7d"`
	Mon  int64 `json:"30d"`
	More int64 `json:"more"`
}

// Estimate is how long the import will take, by figures that Basis names.
type Estimate struct {
	Seconds float64 `json:"seconds"`
	Basis   string  `json:"basis"`
}
