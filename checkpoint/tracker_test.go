package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/slotferry/slotferry/importer/record"
)

// trackerModel is the tracker as one would write it without care for speed:
// every key with its answer, every mark with the number of keys before it.
type trackerModel struct {
	answers []Outcome // of each key; outcomes while there is none
	marks   []int
}

// safe returns the number of marks, and of keys before them, below which all is
// answered.
func (m *trackerModel) safe() (marks, keys int) {
	for _, upTo := range m.marks {
		for _, a := range m.answers[keys:upTo] {
			if a == outcomes {
				return marks, keys
			}
		}
		marks, keys = marks+1, upTo
	}
	return marks, keys
}

func (m *trackerModel) counts(keys int) (c Counts) {
	for _, a := range m.answers[:keys] {
		c.Read++
		switch a {
		case Written:
			c.Written++
			c.Bytes += 10
			c.Permanent++
		case Skipped:
			c.Skipped++
		case Expired:
			c.Expired++
		case Filtered:
			c.Filtered++
		case Failed:
			c.Failed++
		}
	}
	return c
}

func TestTrackerAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		before := Counts{Read: 7, Written: 7, Bytes: 70, Permanent: 7}
		tr := NewTracker(State{Position: record.Position{Offset: 0}, Counts: before})
		m := &trackerModel{}
		type open struct {
			seg *Segment
			key int
		}
		var waiting []open
		for range 500 {
			switch n := r.IntN(10); {
			case n < 5:
				seg := tr.Current()
				seg.Add()
				waiting = append(waiting, open{seg, len(m.answers)})
				m.answers = append(m.answers, outcomes)
			case n < 9 && len(waiting) > 0:
				i := r.IntN(len(waiting))
				w := waiting[i]
				waiting = append(waiting[:i], waiting[i+1:]...)
				o := Outcome(r.IntN(int(outcomes)))
				m.answers[w.key] = o
				switch o {
				case Written:
					w.seg.Done(Written, 1, 10, 1)
				case Failed:
					w.seg.Fail(Failure{Key: fmt.Appendf(nil, "%d", w.key)})
				default:
					w.seg.Done(o, 1, 0, 0)
				}
			default:
				m.marks = append(m.marks, len(m.answers))
				tr.Mark(record.Position{Offset: int64(len(m.marks))})
			}
			marks, keys := m.safe()
			safe := tr.Safe()
			if safe.Position.Offset != int64(marks) {
				t.Fatalf("seed %d: safe at mark %d, want %d", seed, safe.Position.Offset, marks)
			}
			if want := m.counts(keys).Plus(before); safe.Counts != want {
				t.Fatalf("seed %d: counts %+v, want %+v", seed, safe.Counts, want)
			}
			if int64(len(safe.Failures)) != safe.Counts.Failed {
				t.Fatalf("seed %d: %d failures by name, want %d", seed, len(safe.Failures), safe.Counts.Failed)
			}
		}
		tr.Show()
		total := m.counts(len(m.answers)).Plus(before)
		if got := tr.Totals(); got != total {
			t.Fatalf("seed %d: totals %+v, want %+v", seed, got, total)
		}
		if got := tr.Failures(); int64(len(got)) != total.Failed {
			t.Fatalf("seed %d: %d failures by name in all, want %d", seed, len(got), total.Failed)
		}
	}
}

// TestTrackerConcurrently has one reader and several answerers, as a job has.
// Whatever Safe says at any moment must add up, and never go back.
func TestTrackerConcurrently(t *testing.T) {
	const keys, answerers = 200_000, 3
	tr := NewTracker(State{})
	work := make(chan []*Segment, 8)
	var answering, watching sync.WaitGroup
	for i := range answerers {
		answering.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			var held []*Segment // answered late, to be out of order
			for batch := range work {
				held = append(held, batch...)
				r.Shuffle(len(held), func(a, b int) { held[a], held[b] = held[b], held[a] })
				half := len(held) / 2
				for _, s := range held[half:] {
					if r.IntN(100) == 0 {
						s.Fail(Failure{})
					} else {
						s.Done(Written, 1, 3, 0)
					}
				}
				held = held[:half]
			}
			for _, s := range held {
				s.Done(Skipped, 1, 0, 0)
			}
		})
	}
	stop := make(chan struct{})
	watching.Go(func() {
		var last State
		for {
			s := tr.Safe()
			if !s.Counts.Balanced() || s.Counts.Read < last.Counts.Read || s.Position.Offset < last.Position.Offset {
				t.Errorf("safe state %+v after %+v", s, last)
				return
			}
			if s.Counts.Read != s.Position.Offset {
				t.Errorf("safe at key %d with %d keys counted", s.Position.Offset, s.Counts.Read)
				return
			}
			last = s
			_ = tr.Totals()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	r := rand.New(rand.NewPCG(9, 9))
	var batch []*Segment
	for n := int64(1); n <= keys; n++ {
		seg := tr.Current()
		seg.Add()
		batch = append(batch, seg)
		if r.IntN(50) == 0 {
			work <- batch
			batch = nil
		}
		if r.IntN(30) == 0 {
			tr.Mark(record.Position{Offset: n})
		}
	}
	work <- batch
	close(work)
	tr.Mark(record.Position{Offset: keys, End: true})
	answering.Wait()
	close(stop)
	watching.Wait()
	s := tr.Safe()
	if !s.Position.End || s.Counts.Read != keys || !s.Counts.Balanced() || s.Counts != tr.Totals() {
		t.Errorf("in the end %+v, totals %+v", s.Counts, tr.Totals())
	}
}

func TestTrackerKeepsFewFailures(t *testing.T) {
	tr := NewTracker(State{})
	for range 3 {
		for range KeepFailures - 1 {
			seg := tr.Current()
			seg.Add()
			seg.Fail(Failure{Key: []byte("x")})
		}
		tr.Mark(record.Position{})
	}
	seg := tr.Current()
	seg.Add()
	seg.Skip(Failure{Key: []byte("y")})
	if n := len(tr.Safe().Failures); n != KeepFailures {
		t.Errorf("%d failures kept by name", n)
	}
	if n := len(tr.Failures()); n != KeepFailures {
		t.Errorf("%d failures told by name", n)
	}
	if got := tr.Safe().Counts.Failed; got != 3*(KeepFailures-1) {
		t.Errorf("%d failures counted", got)
	}
}

// TestSafeIsACopy makes sure that a checkpoint being written does not change
// under the writer's hands.
func TestSafeIsACopy(t *testing.T) {
	tr := NewTracker(State{})
	fail := func(key string) {
		seg := tr.Current()
		seg.Add()
		seg.Fail(Failure{Key: []byte(key)})
		tr.Mark(record.Position{})
	}
	fail("a")
	before := tr.Safe()
	before.Failures[0].Key = []byte("changed")
	fail("b")
	if got := tr.Safe().Failures; len(got) != 2 || string(got[0].Key) != "a" {
		t.Errorf("failures %+v", got)
	}
}
