package target

import (
	"encoding/binary"
	"fmt"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/rdbparse"
)

// way decides whether a record is rebuilt or sent as bytes. With a reason it is
// neither.
func (c *Cluster) way(l *lane, r *record.Record, name []byte) (rebuild bool, reason string) {
	if int64(len(name)) > c.maxBulk {
		return false, c.tooLong(int64(len(name)))
	}
	if r.Build != nil {
		c.tell("the source hands these values on in parts: they are rebuilt with native commands", r.Type, name)
		return true, ""
	}
	if r.Type == rdbparse.TypeString && r.Len() > c.maxBulk/lzfShrinks {
		// RESTORE would take a compressed one, but its server could not work with it.
		if n := stringBytes(r); n > c.maxBulk {
			return false, c.tooLong(n)
		}
	}
	if bytes := r.Len() + footerBytes; bytes > min(c.maxBulk, c.opts.MaxCommand+footerBytes) {
		c.tell("values longer than --max-command or proto-max-bulk-len are rebuilt with native commands, in parts", r.Type, name)
		return true, ""
	}
	if r.Len() > mostElements && elements(r) > mostElements {
		c.tell("values of half a million elements and more are rebuilt with native commands, in parts, so that no command keeps a master busy for long", r.Type, name)
		return true, ""
	}
	if r.Type == rdbparse.TypeModule2 && c.fatal {
		return false, "a module's value, and the target has no modules: a server before 7.0 would not survive it"
	}
	return l.unknown[r.Type].Load(), ""
}

func (c *Cluster) tooLong(bytes int64) string {
	return fmt.Sprintf("%d bytes are more than the target takes in one word (proto-max-bulk-len %d)", bytes, c.maxBulk)
}

// refuses notes that a node did not take a value of a type, with the lowest
// version that knows it. If that is because of the node's own version, others of
// the type go to the rebuilder at once.
func (l *lane) refuses(x *entry, key []byte, vendor rdbparse.Vendor, line string) {
	l.said[x.typ].Store(&line)
	if !l.cluster.version.Takes(vendor, x.typ) {
		l.unknown[x.typ].Store(true)
	}
	l.cluster.tell("the target does not take these values as bytes: they are rebuilt with native commands", x.typ, key)
}

// notTaken begins the reason why an entry can't be rebuilt: with what the node
// said of its type, if it refused that.
func (l *lane) notTaken(x *entry) (reason string, refused bool) {
	if line := l.said[x.typ].Load(); line != nil {
		return fmt.Sprintf("the target does not take this %s: %q, and it can't be rebuilt with native commands", typeName(x.typ), *line), true
	}
	return fmt.Sprintf("this %s can't be rebuilt with native commands", typeName(x.typ)), false
}

// tell lets the operator know, once for each reason and type, that values are
// rebuilt.
func (c *Cluster) tell(why string, typ byte, key []byte) {
	id := fmt.Sprint(why, typ)
	c.mu.Lock()
	known := c.told[id]
	c.told[id] = true
	c.mu.Unlock()
	if known {
		return
	}
	fields := []zap.Field{zap.String("type", typeName(typ)), zap.ByteString("first_key", clipped(key))}
	if isStream(typ) {
		fields = append(fields, zap.String("not_carried", "when consumers were last seen, and pending entries of deleted stream entries"))
	}
	c.log.Info(why, fields...)
}

func isStream(typ byte) bool { return rdbparse.TypeName(rdbparse.Redis, typ) == "stream" }

// lzfShrinks bounds how many times shorter LZF makes a string: 264 bytes become
// 3 at best.
const lzfShrinks = 100

// mostElements are the most that one RESTORE makes, where it makes each by
// itself. A sorted set of two million keeps Redis 7.0 busy for more than a
// second.
const mostElements = 1 << 19

// elements is how many elements a value tells in front that the server makes one
// by one; 0 for what is stored as whole blocks of them.
func elements(r *record.Record) int64 {
	switch r.Type {
	case rdbparse.TypeSet, rdbparse.TypeZset, rdbparse.TypeHash, rdbparse.TypeZset2: // the number of elements comes first
		n, _ := rdbLength(headOf(r))
		return n
	case rdbparse.TypeHashTTL: // it comes after the earliest expiry
		if head := headOf(r); len(head) > 8 {
			n, _ := rdbLength(head[8:])
			return n
		}
	}
	return 0
}

// headOf returns the first bytes of a value.
func headOf(r *record.Record) []byte {
	if r.Large == nil {
		return r.Value
	}
	head := make([]byte, 1+2*longestLength)
	n, _ := r.Large.ReadAt(head, 0) // what can't be read is found out when it is sent
	return head[:n]
}

// stringBytes is the length of a string when it is not serialized: one that is
// compressed tells it in front.
func stringBytes(r *record.Record) int64 {
	head := headOf(r)
	const compressed = 0xc3
	if len(head) == 0 || head[0] != compressed {
		n, _ := rdbLength(head)
		return n
	}
	_, size := rdbLength(head[1:])
	n, _ := rdbLength(head[1+size:])
	return n
}

// longestLength is the most bytes of a length in an RDB file.
const longestLength = 9

// rdbLength reads a length and returns how many bytes it takes, 0 for what is
// none (https://rdb.fnordig.de/file_format.html#length-encoding).
func rdbLength(b []byte) (n int64, size int) {
	switch {
	case len(b) >= 1 && b[0] < 0x40:
		return int64(b[0]), 1
	case len(b) >= 2 && b[0] < 0x80:
		return int64(b[0]&0x3f)<<8 | int64(b[1]), 2
	case len(b) >= 5 && b[0] == 0x80:
		return int64(binary.BigEndian.Uint32(b[1:])), 5
	case len(b) >= longestLength && b[0] == 0x81:
		return int64(min(binary.BigEndian.Uint64(b[1:]), 1<<62)), longestLength
	}
	return 0, 0
}
