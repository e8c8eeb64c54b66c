package route

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// ErrNoOwner means that the slot table has a hole; refresh before retrying.
var ErrNoOwner = errors.New("slot has no master")

// Master is one master and where it is reached.
type Master struct {
	ID   string // the node's name in the cluster, 40 hexadecimal digits
	Addr string // host:port to dial, the address map applied
	Host string // announced host name, "" if none: the name a certificate bears
}

// Range is a run of slots, both ends included.
type Range struct{ Start, End uint16 }

func (r Range) String() string {
	if r.Start == r.End {
		return fmt.Sprint(r.Start)
	}
	return fmt.Sprintf("%d-%d", r.Start, r.End)
}

// Table says which master owns each slot. It is never changed once shared:
// With makes another.
type Table struct {
	masters []Master
	owner   [Slots]int16 // index into masters, -1 for none
}

// NewTable returns a table without masters: every slot is a hole.
func NewTable() *Table {
	t := &Table{}
	for i := range t.owner {
		t.owner[i] = -1
	}
	return t
}

// Assign gives a range of slots to a master. It is for building a table.
func (t *Table) Assign(m Master, r Range) {
	i := t.index(m)
	for s := int(r.Start); s <= int(r.End) && s < Slots; s++ {
		t.owner[s] = int16(i)
	}
}

func (t *Table) index(m Master) int {
	i := slices.IndexFunc(t.masters, func(o Master) bool { return o.Addr == m.Addr })
	if i < 0 {
		t.masters = append(t.masters, m)
		i = len(t.masters) - 1
	}
	return i
}

// With returns a copy in which the slot belongs to the master at addr, as a
// MOVED reply told.
func (t *Table) With(slot uint16, addr string) *Table {
	c := &Table{masters: slices.Clone(t.masters), owner: t.owner}
	c.Assign(Master{Addr: addr}, Range{slot, slot})
	return c
}

// Masters returns the masters, in the order in which they were assigned. The
// slice is the table's own.
func (t *Table) Masters() []Master { return t.masters }

// Index returns the index into Masters of the slot's owner, -1 if it has none.
func (t *Table) Index(slot uint16) int { return int(t.owner[slot]) }

// Owner returns the master of a slot, or ErrNoOwner.
func (t *Table) Owner(slot uint16) (Master, error) {
	i := t.owner[slot]
	if i < 0 {
		return Master{}, fmt.Errorf("slot %d: %w", slot, ErrNoOwner)
	}
	return t.masters[i], nil
}

// Counts returns the number of slots of each master, by index into Masters.
func (t *Table) Counts() []int {
	n := make([]int, len(t.masters))
	for _, i := range t.owner {
		if i >= 0 {
			n[i]++
		}
	}
	return n
}

// Division tells which slots share a master, whoever that is: a failover leaves
// it as it is, a slot that moves does not. It is 0 while there are holes.
func (t *Table) Division() uint64 {
	first := make([]int, len(t.masters)) // slot of each master, plus one
	sum := uint64(14695981039346656037)  // FNV-1a
	for s, i := range t.owner {
		if i < 0 {
			return 0
		}
		if first[i] == 0 {
			first[i] = s + 1
		}
		sum = (sum ^ uint64(first[i])) * 1099511628211
	}
	return max(sum, 1)
}

// Holes returns the ranges of slots without a master.
func (t *Table) Holes() []Range {
	var holes []Range
	for s := 0; s < Slots; s++ {
		if t.owner[s] >= 0 {
			continue
		}
		start := s
		for s+1 < Slots && t.owner[s+1] < 0 {
			s++
		}
		holes = append(holes, Range{uint16(start), uint16(s)})
	}
	return holes
}

// AddressMap translates the addresses that a cluster announces into those that
// can be dialled from here. Each side is host or host:port.
type AddressMap map[string]string

// Dial returns where to dial an announced host:port: the entry for the whole
// address, else the one for the host with the port kept, else the address.
func (m AddressMap) Dial(addr string) string {
	if to, ok := m[addr]; ok {
		return withPort(to, addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if to, ok := m[host]; ok {
		return withPort(to, addr)
	}
	return addr
}

// withPort completes a host with the port of the address it stands for.
func withPort(to, addr string) string {
	if _, _, err := net.SplitHostPort(to); err == nil {
		return to
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return to
	}
	return net.JoinHostPort(strings.Trim(to, "[]"), port)
}
