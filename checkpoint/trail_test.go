package checkpoint

import (
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/record"
)

func TestTrail(t *testing.T) {
	at := func(offset int64) State { return State{Position: record.Position{Offset: offset}} }
	begin := time.Unix(1000, 0)
	trail := NewTrail(time.Minute, at(7))
	for second := range int64(300) {
		trail.Add(begin.Add(time.Duration(second)*time.Second), at(100+second))
		want := int64(7) // until a state is a minute old
		if second >= 60 {
			want = 100 + second - 60
		}
		if got := trail.Behind().Position.Offset; got != want {
			t.Fatalf("after %d s: %d, want %d", second, got, want)
		}
	}
	if n := len(trail.states); n > 62 {
		t.Errorf("%d states are kept for a minute", n)
	}
	trail.Reset(at(9))
	if got := trail.Behind().Position.Offset; got != 9 {
		t.Errorf("after a reset: %d, want 9", got)
	}
}
