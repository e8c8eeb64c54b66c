package commands

import (
	"slices"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse/decode"
)

// mostRecent is among how many of a stream's last entries those are looked for
// whose idempotence identifiers are kept: the server refuses identifiers of
// entries that are not there (any more).
const mostRecent = 1 << 18

// remember keeps the ID of an entry that was sent.
func (s *stream) remember(id decode.ID) {
	if s.revision < 4 || !s.options.Target.Idempotence {
		return
	}
	if len(s.recent) == mostRecent {
		s.recent = s.recent[:copy(s.recent, s.recent[mostRecent/2:])]
	}
	s.recent = append(s.recent, id)
}

// idempotence reads 2 L limits; L n, n × (S producer, L n, n × (S identifier,
// 2 L entry id)); 2 L counters, which no command sets. XCFGSET comes first
// because it makes the stream forget all identifiers.
func (s *stream) idempotence() {
	seconds, most := s.writer.length(), s.writer.length()
	known := s.options.Target.Idempotence
	if known && seconds > 0 && most > 0 {
		s.do([]byte("XCFGSET"), s.key, []byte("IDMP-DURATION"), strconv.AppendUint(nil, seconds, 10),
			[]byte("IDMP-MAXSIZE"), strconv.AppendUint(nil, most, 10))
	}
	s.each(func() {
		producer := slices.Clone(s.held())
		s.each(func() {
			name, id := s.held(), s.id()
			if _, live := slices.BinarySearchFunc(s.recent, id, decode.ID.Compare); known && live {
				s.do([]byte("XIDMPRECORD"), s.key, producer, name, idText(id))
			}
		})
	})
	s.writer.length()
	s.writer.length()
}
