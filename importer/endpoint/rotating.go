package endpoint

import "sync"

// Rotating is a password that may be changed while the process runs, as one in
// a file. It is read again for every connection. All copies of an Endpoint
// share one.
type Rotating struct {
	read func() (string, error)

	mu     sync.Mutex
	last   string          // that was read well
	worked map[string]bool // by address: the server has taken one of them
}

// NewRotating returns a password that is first now, and later what read says.
// While read fails or says "", as in the middle of a file's change, the last
// good one counts.
func NewRotating(first string, read func() (string, error)) *Rotating {
	return &Rotating{read: read, last: first, worked: map[string]bool{}}
}

// now returns the password for the next connection.
func (r *Rotating) now() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if password, err := r.read(); err == nil && password != "" {
		r.last = password
	}
	return r.last
}

// taken notes that a server took a password.
func (r *Rotating) taken(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.worked[addr] = true
}

// between tells whether a server that refuses the password now has taken one
// before: then server and password are being changed one after the other, and
// it is worth to try again.
func (r *Rotating) between(addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.worked[addr]
}

// String, GoString: it is never shown.
func (*Rotating) String() string   { return "(password)" }
func (*Rotating) GoString() string { return "(password)" }
