package commands

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// pending is an entry that was delivered but not acknowledged. A group gives
// all of its own before it says whose they are, so they are held.
type pending struct {
	id          decode.ID
	deliveredAt int64
	deliveries  uint64 // ownedMark is set once a consumer has it
}

const (
	pendingBytes = 32
	ownedMark    = 1 << 63
)

// group reads S name, numbers, pending entries, consumers with the IDs of
// theirs, and from revision 5 on those that were given back.
func (s *stream) group() {
	name := slices.Clone(s.held())
	lastID := s.id()
	read := s.estimatedRead(lastID)
	if s.revision >= 2 {
		read = int64(s.writer.length())
	}
	s.words = append(s.words[:0], []byte("XGROUP"), []byte("CREATE"), s.key, name, idText(lastID))
	if s.options.Target.StreamCounters {
		s.words = append(s.words, []byte("ENTRIESREAD"), strconv.AppendInt(nil, max(read, unknownRead), 10))
	}
	s.do(s.words...)
	s.readPending()
	owned := 0
	s.each(func() { owned += s.consumer(name) })
	if s.revision >= 5 {
		s.each(func() {
			s.rawID()
			s.refuse(fmt.Errorf("%w: pending entries that belong to no consumer", ErrUnsupported))
		})
	}
	if s.err == nil && owned < len(s.pending) {
		s.corrupt("%d pending entries belong to no consumer", len(s.pending)-owned)
	}
}

// unknownRead says that it isn't known how many entries a group has read.
const unknownRead = -1

// estimatedRead is how many entries a group has read that is at the ID last, as
// servers count when they read a stream that doesn't say it
// (streamEstimateDistanceFromFirstEverEntry in src/t_stream.c).
func (s *stream) estimatedRead(last decode.ID) int64 {
	switch {
	case s.length == 0 || last.Compare(s.first) < 0:
		return 0
	case last == s.lastID:
		return int64(s.length)
	case last == s.first:
		return 1
	}
	return unknownRead
}

// readPending reads L n, n × (16 bytes ID, 8 bytes time, L deliveries).
func (s *stream) readPending() {
	s.pending = s.pending[:0]
	s.each(func() {
		p := pending{s.rawID(), s.milliseconds(), s.writer.length()}
		switch n := len(s.pending); {
		case s.err != nil:
			return
		case n > 0 && s.pending[n-1].id.Compare(p.id) >= 0:
			s.corrupt("pending entry %v behind %v", p.id, s.pending[n-1].id)
		case p.deliveries > math.MaxInt64:
			s.corrupt("%d deliveries", p.deliveries)
		case uint64(n+1)*pendingBytes > s.max:
			s.fail(rdbparse.ErrTooLong, "more pending entries than %d bytes hold", s.max)
		}
		s.pending = append(s.pending, p)
	})
}

// consumer reads S name, times, L n, n × 16 bytes ID, makes the consumer and
// gives it its entries. It says how many they are.
func (s *stream) consumer(group []byte) (owned int) {
	name := s.held()
	s.take(8) // last seen
	if s.revision >= 3 {
		s.take(8) // last active
	}
	s.createConsumer(group, name)
	b := s.batch("XCLAIM")
	var last *pending
	s.each(func() {
		id := s.rawID()
		at, ok := slices.BinarySearchFunc(s.pending, id, func(p pending, id decode.ID) int { return p.id.Compare(id) })
		switch {
		case s.err != nil:
			return
		case !ok || s.pending[at].deliveries&ownedMark != 0:
			s.corrupt("a consumer's pending entry %v is not its group's", id)
			return
		}
		p := &s.pending[at]
		if last == nil || p.deliveredAt != last.deliveredAt || p.deliveries|ownedMark != last.deliveries {
			b.flush()
			b.around(
				[][]byte{[]byte("XCLAIM"), s.key, group, name, []byte("0")},
				[][]byte{[]byte("TIME"), strconv.AppendInt(nil, p.deliveredAt, 10),
					[]byte("RETRYCOUNT"), strconv.AppendUint(nil, p.deliveries, 10), []byte("FORCE"), []byte("JUSTID")},
			)
		}
		b.add(idText(id))
		p.deliveries |= ownedMark
		last = p
		owned++
	})
	b.flush()
	return owned
}

// createConsumer: reading its own history, which is empty, makes a consumer on
// servers that have no command for it.
func (s *stream) createConsumer(group, name []byte) {
	if s.options.Target.CreateConsumer {
		s.do([]byte("XGROUP"), []byte("CREATECONSUMER"), s.key, group, name)
		return
	}
	s.do([]byte("XREADGROUP"), []byte("GROUP"), group, name, []byte("COUNT"), []byte("1"), []byte("STREAMS"), s.key, []byte("0"))
}
