// Package effect knows what a command of a replication stream or an append-only
// file does: which keys it touches, whether it can be run as it is, in parts, or
// not at all on a cluster, and which expiry it sets. It knows the commands of
// Redis 6.0 to 8.6 and Valkey 8.0 to 9.1 as their COMMAND and their
// documentation (https://redis.io/docs/latest/commands/,
// https://valkey.io/commands/) describe them, and can be taught others. It does
// no I/O and keeps no values.
package effect

import (
	"errors"
	"fmt"
	"strings"
)

// ErrMalformed means that a command is known, but can't have been accepted by a
// server as it stands.
var ErrMalformed = errors.New("malformed command")

// Kind is what has to be done with a command.
type Kind uint8

const (
	Unknown Kind = iota // its name is not in the table
	Write               // on Keys; as it is if they share a slot and Reread is not set
	Split               // on Keys, each with the Step-1 words behind it as a command of its own
	Begin               // MULTI
	Commit              // EXEC
	Select              // of DB
	Flush               // of all databases, with DB AllDBs, or of the selected one
	Swap                // of DB and DB2
	Script              // declares Keys, and may touch others
	Program             // changes the functions or scripts, which every master is to have
	Nothing             // has no effect on keys
)

// AllDBs is the DB of FLUSHALL.
const AllDBs = -1

// Effect is what one command does.
type Effect struct {
	Kind Kind
	Name string // in upper case
	Keys []int  // which words are keys, read or written, that matter for what the command does
	Step int    // for Split: words of a part, its key among them

	// DB is the database of Select, Flush and Swap. DB2 is the other one of Swap,
	// and where MOVE and COPY with DB put a key; -1 for none.
	DB, DB2 int

	// ExpireAt is the expiry that the command sets for a key or for fields of it,
	// in Unix milliseconds, and never 0 then: one long ago is 1. Relative means
	// that it was made from the time of reading; see Absolute.
	ExpireAt int64
	Relative bool

	Blind  bool // overwrites or deletes its keys as a whole, whatever they were
	Reread bool // for Write: its outcome depends on more than Keys in the selected database

	expiry expiry
}

// expiry is where in a command it says when something expires.
type expiry struct {
	value   int // index of the number; 0 for none
	option  int // index of EX, PX, EXAT or PXAT before it; 0 for none
	seconds bool
}

// Of says what a command does, at a time in Unix milliseconds. Unknown is no
// error; an error wraps ErrMalformed. The memory of e.Keys is used again.
func Of(words [][]byte, now int64, e *Effect) error { return builtin.Of(words, now, e) }

// Table is what is known of commands. It is not safe for concurrent use while
// it learns.
type Table struct {
	learnt map[string]*command
}

var builtin = NewTable()

// NewTable returns a table that knows what servers have built in.
func NewTable() *Table { return &Table{} }

// Learn adds a writing command of a module, with the places of its first and
// last key (from the end if negative) and the step between keys as a source's
// COMMAND INFO tells them; 0, 0, 0 is a command without keys, which then is a
// Write without Keys. It is not for commands whose keys are movable, and does
// not change what is built in.
func (t *Table) Learn(name string, first, last, step int) {
	if t.learnt == nil {
		t.learnt = make(map[string]*command)
	}
	name = strings.ToUpper(name)
	t.learnt[name] = &command{name: name, kind: Write, min: first + 1, first: first, last: last, step: step}
}

// Of is like the function of that name, and knows what was learnt.
func (t *Table) Of(words [][]byte, now int64, e *Effect) error {
	*e = Effect{Keys: e.Keys[:0], DB2: -1}
	if len(words) == 0 {
		return fmt.Errorf("%w: it has no name", ErrMalformed)
	}
	c := t.find(words[0])
	if c == nil {
		e.Name = strings.ToUpper(string(words[0][:min(len(words[0]), maxName)]))
		return nil
	}
	e.Kind, e.Name = c.kind, c.name
	if len(words) < c.min {
		return fmt.Errorf("%w: %s with %d words", ErrMalformed, c.name, len(words))
	}
	ok := c.simpleKeys(words, e)
	if ok && c.read != nil {
		ok = c.read(words, e)
	}
	if ok && e.expiry.value != 0 {
		ok = e.readExpiry(words, now)
	}
	if !ok {
		e.Keys = e.Keys[:0]
		return fmt.Errorf("%w: %s with arguments that it does not take", ErrMalformed, c.name)
	}
	return nil
}

// find returns what is known of a name in any case, nil if nothing.
func (t *Table) find(name []byte) *command {
	var buf [maxName]byte
	if len(name) > len(buf) {
		return nil
	}
	for i, c := range name {
		buf[i] = upper(c)
	}
	if c := commands[string(buf[:len(name)])]; c != nil { // without an allocation
		return c
	}
	return t.learnt[string(buf[:len(name)])]
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// is compares a word with one in upper case.
func is(word []byte, want string) bool {
	if len(word) != len(want) {
		return false
	}
	for i, c := range word {
		if upper(c) != want[i] {
			return false
		}
	}
	return true
}

// number reads a decimal integer as servers do: no plus, no spaces, no leading
// zeros.
func number(word []byte) (int64, bool) {
	digits := word
	neg := len(word) > 0 && word[0] == '-'
	if neg {
		digits = word[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(word) > 1 {
		return 0, false
	}
	var n uint64 // 19 digits fit
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	if neg {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n < 1<<63
}
