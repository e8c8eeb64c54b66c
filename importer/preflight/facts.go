package preflight

// Source is what a source knows of itself before it is read.
type Source struct {
	Text   string        // as the operator named it, without password
	IDs    []string      // its identity: two sources are the same if they share one
	Server *Server       // nil for a file
	Keys   map[int]int64 // by database; nil when not known before the end
	Bytes  int64         // of the file, 0 for none
	Once   bool          // can be read only once in a run: standard input
	RDB    int           // RDB version of its values
	// Libraries is the number of function libraries, as far as known.
	Libraries int
	// ModuleTypes is the number of keys of each module type, as far as known.
	ModuleTypes map[string]int64
	// Collision names a key that would be written over by another one of the
	// same new name; "" for none.
	Collision string
}

// Total is the number of keys, 0 when not known.
func (s Source) Total() (n int64) {
	for _, keys := range s.Keys {
		n += keys
	}
	return n
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
