package preflight

import (
	"slices"
	"time"

	"github.com/slotferry/slotferry/rdbparse"
)

// What a source measures values by, for a plan.
const (
	// MeasureSerialized is the length of the serialized value; the key's own
	// comes on top.
	MeasureSerialized = "serialized"
	// MeasureMemory is what MEMORY USAGE says: key and overhead are in it, so
	// that nothing comes on top. Large collections are sampled.
	MeasureMemory = "memory_usage"
)

// Source is what a source knows of itself before it is read.
type Source struct {
	Text   string        // as the operator named it, without password
	IDs    []string      // its identity: two sources are the same if they share one
	Server *Server       // nil for a file
	Keys   map[int]int64 // by database; nil when not known before the end
	Bytes  int64         // of the file, 0 for none
	Once   bool          // can be read only once in a run: standard input
	// Replayed says that its values come of commands that were run again: when
	// consumers of streams were seen is when that was.
	Replayed bool
	RDB      int // RDB version of its values
	// Libraries is the number of function libraries, as far as known.
	Libraries int
	// ModuleTypes is the number of keys of each module type, as far as known.
	ModuleTypes map[string]int64
	// Collision names a key that would be written over by another one of the
	// same new name; "" for none.
	Collision string

	Measure string    // what record.Measure.Bytes are: MeasureSerialized or MeasureMemory
	Version string    // product and version of the server, or of the one that wrote the file; "" when not known
	Memory  int64     // bytes that the keys took in the server's memory; of a file, all that the server used then; 0 when not known
	Written time.Time // when the file was begun; zero for a server or when not known
	Survey  *Survey   // what a walk over the whole file found; nil without one
}

// Survey is what a file holds in the chosen databases, whatever the names and
// types chosen.
type Survey struct {
	Vendor   rdbparse.Vendor // whose numbers Types are
	Types    map[byte]int64  // keys by RDB type
	Bytes    int64           // of all serialized values, without type bytes
	Expiring int64           // keys with an expiry
	Largest  int64           // bytes of the longest value
}

// Total is the number of keys, 0 when not known.
func (s Source) Total() (n int64) {
	for _, keys := range s.Keys {
		n += keys
	}
	return n
}

// Databases returns those that have keys, ascending.
func (s Source) Databases() []int {
	var dbs []int
	for db, keys := range s.Keys {
		if keys > 0 {
			dbs = append(dbs, db)
		}
	}
	slices.Sort(dbs)
	return dbs
}

// Target is what a target is before it is written to.
type Target struct {
	Text    string
	IDs     []string // of all nodes
	Masters []Master
	Keys    int64 // held already
}

// Master is one master of the target.
type Master struct {
	Addr   string
	ID     string
	Slots  int
	Server Server
	Keys   int64
}

// Oldest returns the master with the lowest RDB version.
func (t Target) Oldest() Server {
	var oldest Server
	for i, m := range t.Masters {
		if i == 0 || m.Server.Version.RDB() < oldest.Version.RDB() {
			oldest = m.Server
		}
	}
	return oldest
}
