package route

import (
	"fmt"
	"math"
)

// Even returns the slot table of a cluster that does not exist yet, split among
// n masters (1 to Slots) as `redis-cli --cluster create` splits it
// (clusterManagerCommandCreate in src/redis-cli.c). They are called "master-1"
// and so on.
func Even(n int) *Table {
	t := NewTable()
	each := float64(Slots) / float64(n)
	first, cursor := 0, 0.0
	for i := range n {
		last := int(math.Round(cursor + each - 1))
		if last >= Slots || i == n-1 {
			last = Slots - 1
		}
		last = max(last, first)
		t.Assign(Master{Addr: fmt.Sprintf("master-%d", i+1)}, Range{uint16(first), uint16(last)})
		first = last + 1
		cursor += each
	}
	return t
}
