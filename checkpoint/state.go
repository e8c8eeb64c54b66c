package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Format is the version of what is written. A checkpoint of another version is
// refused.
const Format = 1

var (
	// ErrNone means that there is no checkpoint: the job begins.
	ErrNone = errors.New("no checkpoint")
	// ErrDamaged means that what is stored is not what was written.
	ErrDamaged = errors.New("checkpoint is damaged")
	// ErrLocked means that another run holds the checkpoint.
	ErrLocked = errors.New("another run is using this checkpoint")
	// ErrLost means that the lock was taken over by another run.
	ErrLost = errors.New("this run no longer holds the checkpoint's lock")
)

// Checkpoint is what a store keeps: how far the job is, and of which job.
type Checkpoint struct {
	Job     string    `json:"job"`
	Source  Identity  `json:"source"`
	Target  Identity  `json:"target"`
	Choice  string    `json:"choice"` // which keys, under which names
	Policy  string    `json:"policy"` // what becomes of keys that exist
	Started time.Time `json:"started"`
	Saved   time.Time `json:"saved"`
	Seconds float64   `json:"seconds"` // spent by all runs so far
	Runs    int       `json:"runs"`
	Total   int64     `json:"total"` // keys in the source, 0 if not known
	Done    bool      `json:"done"`  // finished: the next run begins anew
	// PlainDB is the one database whose keys keep their names, nil before the first.
	PlainDB *int `json:"plain_db,omitempty"`
	// Copies is how many full copies were begun of a source that goes on with
	// commands, and Distrust the serial up to which those behind the last one meet
	// keys that it may not have written.
	Copies   int   `json:"copies,omitempty"`
	Distrust int64 `json:"distrust,omitempty"`
	State    State `json:"state"`
	// Trail is where the job stood a while before, and Lives are the run IDs of
	// the masters it wrote to, by address: if one of them has changed, the next
	// run begins there. If slots went from one master to another shortly before
	// (at Moved; Division tells how they are divided), it begins anew.
	Trail    State             `json:"trail"`
	Lives    map[string]string `json:"lives,omitempty"`
	Division uint64            `json:"division,omitempty"`
	Moved    time.Time         `json:"moved,omitzero"`
}

// Identity says which source or target a checkpoint is about.
type Identity struct {
	Text string   `json:"text"` // for messages
	IDs  []string `json:"ids"`  // two identities are the same if they share one
}

// Same reports whether both are about the same thing.
func (i Identity) Same(o Identity) bool {
	for _, a := range i.IDs {
		for _, b := range o.IDs {
			if a == b {
				return true
			}
		}
	}
	return false
}

// envelope is the stored form: the checksum is over the bytes of Checkpoint.
type envelope struct {
	Slotferry  int             `json:"slotferry_checkpoint"`
	SHA256     string          `json:"sha256"`
	Checkpoint json.RawMessage `json:"checkpoint"`
}

// Encode returns the stored form of a checkpoint: one line of JSON with format
// version and checksum.
func Encode(c Checkpoint) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	sum := sha256.Sum256(body)
	out, err := json.Marshal(envelope{Format, hex.EncodeToString(sum[:]), body})
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	return append(out, '\n'), nil
}

// Decode is the reverse of Encode. What was altered is ErrDamaged, unless it
// still says the same.
func Decode(data []byte) (Checkpoint, error) {
	var e envelope
	var c Checkpoint
	if err := json.Unmarshal(data, &e); err != nil {
		return c, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if e.Slotferry != Format {
		return c, fmt.Errorf("%w: its format is %d, this program knows %d", ErrDamaged, e.Slotferry, Format)
	}
	sum := sha256.Sum256(e.Checkpoint)
	if hex.EncodeToString(sum[:]) != e.SHA256 {
		return c, fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	d := json.NewDecoder(bytes.NewReader(e.Checkpoint))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return c, nil
}
