package mirror

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/slotferry/slotferry/importer/record"
)

// entry is what is remembered of one key.
type entry struct {
	name  uint64 // hash of the name in the target
	value uint64 // hash of the value that was written last
	mark  uint64 // expiry in Unix milliseconds, 0 for none; and unknown
}

// entryBytes is the length of an entry's stored form.
const entryBytes = 24

func (e entry) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, e.name)
	b = binary.LittleEndian.AppendUint64(b, e.value)
	return binary.LittleEndian.AppendUint64(b, e.mark)
}

func decodeEntry(b []byte) entry {
	b = b[:entryBytes]
	return entry{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
}

// digest is another number for each entry, of which the sum over many does not
// tell their order.
func (e entry) digest() uint64 {
	h := (e.name ^ bits.RotateLeft64(e.value*0x9e3779b97f4a7c15, 29)) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>32 ^ e.mark) * 0x94d049bb133111eb
	return h ^ h>>29
}

// unknown, in a mark, says that the target may hold any value under the name.
const unknown = 1 << 63

func (e entry) expiry() int64 { return int64(e.mark &^ unknown) }

// expired tells that the target has let go of the key by itself.
func (e entry) expired(now int64) bool {
	return e.mark != 0 && e.mark&unknown == 0 && e.expiry() <= now
}

// maxName is the longest name in bytes that is remembered. A key with a longer
// one is written in every run, and never removed.
const maxName = 64 << 10

func hashName(name []byte) uint64 { return xxhash.Sum64(name) }

// hasher makes hashes of values. RDB version and checksum are no part of them:
// those change with the server, not with the data.
type hasher struct {
	sum  *xxhash.Digest
	part []byte
}

// hash returns the hash of a record's value, or false if it can't be told before
// it is sent.
func (h *hasher) hash(r *record.Record, name []byte) (uint64, bool, error) {
	if r.Fate != record.Copy || r.Build != nil {
		return 0, false, nil
	}
	var sum uint64
	if r.Large == nil {
		sum = xxhash.Sum64(r.Value)
	} else {
		if h.sum == nil {
			h.sum, h.part = xxhash.New(), make([]byte, 256<<10)
		}
		h.sum.Reset()
		// Only Read: a section's WriteTo would not keep to the buffer.
		whole := struct{ io.Reader }{io.NewSectionReader(r.Large, 0, r.Large.Size())}
		n, err := io.CopyBuffer(struct{ io.Writer }{h.sum}, whole, h.part)
		if err == nil && n < r.Large.Size() {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, false, err
		}
		sum = h.sum.Sum64()
	}
	// Another hash of the name lets two names of one hash still be told apart.
	return sum ^ uint64(r.Type)<<32 ^ uint64(crc32.Checksum(name, castagnoli)), true, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
