package decode

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
)

func (d *decoder) list(typ byte) (list [][]byte) {
	switch typ {
	case rdbparse.TypeList:
		return d.strs()
	case rdbparse.TypeListZiplist:
		return d.ziplist(d.str()).appendTo(nil)
	case rdbparse.TypeQuicklist:
		for n := d.count(1); n > 0 && d.err == nil; n-- {
			list = d.ziplist(d.str()).appendTo(list)
		}
	case rdbparse.TypeQuicklist2:
		const plain, packed = 1, 2
		for n := d.count(2); n > 0 && d.err == nil; n-- {
			switch container := d.length(); container {
			case plain:
				list = append(list, d.str())
			case packed:
				list = d.listpack(d.str()).appendTo(list)
			default:
				d.corrupt("list container %d", container)
			}
		}
	}
	return list
}

// strs reads L n, n × S.
func (d *decoder) strs() [][]byte {
	return many(d, 1, func(s *[]byte) { *s = d.str() })
}

// appendTo appends all elements that are left.
func (p packed) appendTo(list [][]byte) [][]byte {
	list = slices.Grow(list, min(p.room(), firstRoom))
	for s := p.text(); s != nil; s = p.text() {
		list = append(list, s)
	}
	return list
}

func (d *decoder) set(typ byte) [][]byte {
	switch typ {
	case rdbparse.TypeSetIntset:
		return d.intset(d.str())
	case rdbparse.TypeSetListpack:
		return d.listpack(d.str()).appendTo(nil)
	}
	return d.strs()
}

func (d *decoder) intset(b []byte) [][]byte {
	set := make([][]byte, 0, min(len(b)/2, firstRoom))
	d.eachInteger(b, func(member []byte) { set = append(set, member) })
	return set
}

// eachInteger reads an intset: 4 bytes width, 4 bytes count, integers
// (src/intset.c).
func (d *decoder) eachInteger(b []byte, take func(member []byte)) {
	if d.err != nil {
		return
	}
	if len(b) < 8 {
		d.corrupt("an intset of %d bytes", len(b))
		return
	}
	width, count := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	b = b[8:]
	if width != 2 && width != 4 && width != 8 || uint64(len(b)) != uint64(count)*uint64(width) {
		d.corrupt("an intset of %d integers of %d bytes in %d", count, width, len(b))
		return
	}
	for ; len(b) > 0; b = b[width:] {
		switch width {
		case 2:
			take(d.decimal(int64(int16(binary.LittleEndian.Uint16(b)))))
		case 4:
			take(d.decimal(int64(int32(binary.LittleEndian.Uint32(b)))))
		default:
			take(d.decimal(int64(binary.LittleEndian.Uint64(b))))
		}
	}
}

func (d *decoder) hash(v rdbparse.Vendor, typ byte) []Field {
	if v == rdbparse.Valkey && typ == rdbparse.ValkeyHash2 {
		return d.valkeyHash()
	}
	switch typ {
	case rdbparse.TypeHash:
		return many(d, 2, func(f *Field) { f.Name, f.Value = d.str(), d.str() })
	case rdbparse.TypeHashZipmap:
		return d.zipmap(d.str())
	case rdbparse.TypeHashZiplist:
		return d.ziplist(d.str()).fields(false)
	case rdbparse.TypeHashListpack:
		return d.listpack(d.str()).fields(false)
	case rdbparse.TypeHashLPTTLRC:
		return d.listpack(d.str()).fields(true)
	case rdbparse.TypeHashListpackEx:
		d.milliseconds() // the earliest expiry, which the fields tell as well
		return d.listpack(d.str()).fields(true)
	case rdbparse.TypeHashTTL:
		return d.ttlHash(d.milliseconds())
	default: // rdbparse.TypeHashTTLRC
		return d.ttlHash(1)
	}
}

// fields reads names and values in turn, each pair followed by an expiry if
// there are expiries at all, which is 0 for never.
func (p packed) fields(expiries bool) []Field {
	each := 2
	if expiries {
		each++
	}
	hash := make([]Field, 0, min(p.room()/each, firstRoom))
	for name := p.text(); name != nil; name = p.text() {
		f := Field{Name: name, Value: p.must()}
		if expiries {
			f.ExpireAt = p.integer()
		}
		hash = append(hash, f)
	}
	return hash
}

// ttlHash reads L n, n × (L expiry, S name, S value). An expiry of 0 is none,
// one of 1 is at the time first.
func (d *decoder) ttlHash(first int64) []Field {
	return many(d, 3, func(f *Field) {
		ttl := d.length()
		f.Name, f.Value = d.str(), d.str()
		if ttl != 0 {
			f.ExpireAt = first + int64(ttl) - 1
		}
	})
}

// valkeyHash reads L n, n × (S name, S value, 8 bytes of expiry, -1 for none).
func (d *decoder) valkeyHash() []Field {
	return many(d, 2+8, func(f *Field) {
		f.Name, f.Value, f.ExpireAt = d.str(), d.str(), d.milliseconds()
		if f.ExpireAt == -1 {
			f.ExpireAt = 0
		}
	})
}

func (d *decoder) zipmap(b []byte) (hash []Field) {
	d.eachZipmapField(b, func(f Field) { hash = append(hash, f) })
	return hash
}

// eachZipmapField reads a zipmap: 1 byte count, then names and values in turn,
// 0xff. Each has its length in front, in 1 or 5 bytes; values say then how many
// bytes behind them are unused (src/zipmap.c).
func (d *decoder) eachZipmapField(b []byte, take func(Field)) {
	const end = 0xff
	if d.err != nil {
		return
	}
	m := decoder{data: b}
	m.byte() // the count, which may be unknown
	for {
		c := m.byte()
		if m.err != nil || c == end {
			break
		}
		f := Field{Name: m.take(m.zipmapLength(c))}
		size := m.zipmapLength(m.byte())
		unused := m.byte()
		f.Value = m.take(size)
		m.take(uint64(unused))
		if m.err == nil {
			take(f)
		}
	}
	if left := len(b) - m.pos; left > 0 {
		m.corrupt("%d bytes too many", left)
	}
	if m.err != nil {
		d.err = m.err
	}
}

func (d *decoder) zipmapLength(first byte) uint64 {
	switch {
	case first < 0xfe:
		return uint64(first)
	case first == 0xfe:
		if p := d.take(4); p != nil {
			return uint64(binary.LittleEndian.Uint32(p))
		}
	default:
		d.corrupt("a zipmap ends too early")
	}
	return 0
}

func (d *decoder) zset(typ byte) []Member {
	switch typ {
	case rdbparse.TypeZsetZiplist:
		return d.ziplist(d.str()).members()
	case rdbparse.TypeZsetListpack:
		return d.listpack(d.str()).members()
	}
	if typ == rdbparse.TypeZset2 {
		return many(d, 1+8, func(m *Member) { m.Name, m.Score = d.str(), d.double() })
	}
	return many(d, 1+1, func(m *Member) { m.Name, m.Score = d.str(), d.textScore() })
}

// members reads names and scores in turn.
func (p packed) members() []Member {
	zset := make([]Member, 0, min(p.room()/2, firstRoom))
	for name := p.text(); name != nil; name = p.text() {
		m := Member{Name: name, Score: p.score()}
		zset = append(zset, m)
	}
	return zset
}

// score gives the next element where it has to be a score.
func (p *packed) score() float64 {
	e, ok := p.next()
	switch {
	case !ok:
		p.d.corrupt("packed elements end too early")
		return 0
	case e.text != nil:
		return p.d.score(e.text)
	}
	return float64(e.integer)
}

// textScore reads 1 byte length and text; the highest lengths are words.
func (d *decoder) textScore() float64 {
	switch n := d.byte(); n {
	case 253:
		return math.NaN()
	case 254:
		return math.Inf(1)
	case 255:
		return math.Inf(-1)
	default:
		return d.score(d.take(uint64(n)))
	}
}

// score is what strtod makes of the text that a server wrote.
func (d *decoder) score(text []byte) float64 {
	if d.err != nil {
		return 0
	}
	if string(text) == "-nan" {
		return math.NaN()
	}
	// Where a number is out of range, this is infinite, as it is for a server.
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !math.IsInf(f, 0) {
		d.corrupt("a score that is no number")
	}
	return f
}
