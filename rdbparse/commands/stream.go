package commands

import (
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// streamRevisions: 1 (Redis 5.0), 2 (7.0), 3 (7.2), 4 (8.6), 5 (8.8).
var streamRevisions = map[byte]int{
	rdbparse.TypeStream: 1, rdbparse.TypeStream2: 2, rdbparse.TypeStream3: 3, rdbparse.TypeStream4: 4, rdbparse.TypeStream5: 5,
}

// fieldBytes is what the name and the value of a field take as words, in the
// decoder and in the command.
const fieldBytes = 2 * 2 * 24

// stream is what is known of a stream while it is written.
type stream struct {
	*writer
	revision     int
	length       uint64
	first, last  decode.ID // of the entries
	lastID       decode.ID // that the stream ever gave
	maxDeletedID decode.ID
	entriesAdded uint64
	recent       []decode.ID // the last entries, for idempotence
	pending      []pending   // of the group that is being read
	words        [][]byte
}

// stream reads L n, n × (S id, S listpack), numbers, groups, producers.
func (w *writer) stream(revision int) {
	s := &stream{writer: w, revision: revision}
	w.each(func() {
		key, listpack := w.held2()
		if w.err == nil {
			w.check(decode.StreamNode(key, listpack, w.options.MaxHeld/fieldBytes, s.entry))
		}
	})
	if w.err == nil && s.length == 0 {
		s.empty()
	}
	s.numbers()
	w.each(s.group)
	if revision >= 4 {
		s.idempotence()
	}
}

// entry sends XADD: there is no command for several entries.
func (s *stream) entry(e decode.Entry) {
	if s.err != nil {
		return
	}
	s.words = append(s.words[:0], []byte("XADD"), s.key, idText(e.ID))
	s.words = append(s.words, e.Fields...)
	s.do(s.words...)
	if s.length == 0 {
		s.first = e.ID
	}
	s.last = e.ID
	s.length++
	s.remember(e.ID)
}

// empty makes a stream that never had an entry: one that is added and deleted
// would stay in the stream's numbers.
func (s *stream) empty() {
	group := []byte("slotferry")
	s.do([]byte("XGROUP"), []byte("CREATE"), s.key, group, []byte("0"), []byte("MKSTREAM"))
	s.do([]byte("XGROUP"), []byte("DESTROY"), s.key, group)
}

// numbers reads what the stream remembers besides its entries and sends XSETID.
func (s *stream) numbers() {
	length := s.writer.length()
	s.lastID = s.id()
	s.entriesAdded = length // as servers take it that read a stream of revision 1
	if s.revision >= 2 {
		s.id() // of the first entry
		s.maxDeletedID, s.entriesAdded = s.id(), s.writer.length()
	}
	if s.err == nil && length != s.length {
		s.corrupt("a stream of %d entries says that they are %d", s.length, length)
	}
	s.words = append(s.words[:0], []byte("XSETID"), s.key, idText(s.lastID))
	if s.options.Target.StreamCounters {
		s.words = append(s.words,
			[]byte("ENTRIESADDED"), strconv.AppendUint(nil, s.entriesAdded, 10), []byte("MAXDELETEDID"), idText(s.maxDeletedID))
	}
	s.do(s.words...)
}

// id reads an ID as 2 L.
func (s *stream) id() decode.ID { return decode.ID{Ms: s.writer.length(), Seq: s.writer.length()} }

// rawID reads an ID in 16 bytes.
func (s *stream) rawID() decode.ID {
	if p := s.take(16); p != nil {
		return decode.BigID(p)
	}
	return decode.ID{}
}

func idText(id decode.ID) []byte {
	b := strconv.AppendUint(make([]byte, 0, 2*longestDecimal+1), id.Ms, 10)
	return strconv.AppendUint(append(b, '-'), id.Seq, 10)
}
