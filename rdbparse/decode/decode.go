// Package decode turns one serialized value, as DUMP and RDB files hold it,
// into what the commands of its type see: a model that doesn't depend on the
// encoding, the order of a hash table or the version of the server that wrote
// it. It says how two such values differ. It holds one value in memory at a
// time and reads no files; whatever the bytes are, it doesn't panic and takes
// memory only in proportion to them. That is why it stands on no other decoder:
// hdt3213/rdb, which its tests compare with, promises neither and loses the
// order of a stream entry's fields.
package decode

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/slotferry/slotferry/rdbparse"
)

// What can be wrong besides damage, whose errors wrap those of rdbparse
// (ErrCorrupt, ErrTruncated, ErrTooLong).
var (
	// ErrModule means that only the module itself understands the value.
	ErrModule = errors.New("a value of a module")
	// ErrUnknown means that the vendor has no such type, or that it is newer
	// than this package.
	ErrUnknown = rdbparse.ErrUnknownType
)

// Value is one value as the commands of its type see it; Type says which other
// field holds it. Its slices may be parts of the bytes that it was decoded
// from.
type Value struct {
	Type   string // as the TYPE command names it: string, list, set, zset, hash or stream
	String []byte
	List   [][]byte // in order
	Set    [][]byte // sorted by bytes
	Hash   []Field  // sorted by name
	Zset   []Member // sorted by name
	Stream *Stream
}

// Field is a hash's.
type Field struct {
	Name, Value []byte
	ExpireAt    int64 // Unix milliseconds; 0 means never
}

// Member is a sorted set's.
type Member struct {
	Name  []byte
	Score float64
}

// Decode decodes a value of the RDB type typ in v's numbering. body is what
// follows the type byte, without a DUMP payload's footer. Fields of a hash that
// have expired are there all the same, see [Value.DropExpired].
func Decode(v rdbparse.Vendor, typ byte, body []byte) (*Value, error) {
	value := &Value{Type: rdbparse.TypeName(v, typ)}
	d := decoder{data: body}
	switch value.Type {
	case "string":
		value.String = d.str()
	case "list":
		value.List = d.list(typ)
	case "set":
		value.Set = d.set(typ)
		order(&d, value.Set, bytes.Compare)
	case "hash":
		value.Hash = d.hash(v, typ)
		order(&d, value.Hash, func(a, b Field) int { return bytes.Compare(a.Name, b.Name) })
	case "zset":
		value.Zset = d.zset(typ)
		order(&d, value.Zset, func(a, b Member) int { return bytes.Compare(a.Name, b.Name) })
	case "stream":
		value.Stream = d.stream(streamRevisions[typ])
	case "module":
		return nil, ErrModule
	default:
		return nil, fmt.Errorf("%w %d", ErrUnknown, typ)
	}
	if left := len(body) - d.pos; d.err == nil && left > 0 {
		d.corrupt("%d bytes too many", left)
	}
	if d.err != nil {
		return nil, fmt.Errorf("decoding a %s of type %d: %w", value.Type, typ, d.err)
	}
	return value, nil
}

// order sorts what has no order of its own, in which nothing stands twice.
func order[T any](d *decoder, items []T, compare func(a, b T) int) {
	if d.err != nil {
		return
	}
	slices.SortFunc(items, compare)
	for i := 1; i < len(items); i++ {
		if compare(items[i-1], items[i]) == 0 {
			d.corrupt("the same name twice")
			return
		}
	}
}

// DropExpired removes a hash's fields that are expired at the time now, in
// Unix milliseconds. A hash may be left without any.
func (v *Value) DropExpired(now int64) {
	v.Hash = slices.DeleteFunc(v.Hash, func(f Field) bool { return f.ExpireAt != 0 && f.ExpireAt <= now })
}
