package decode

import "encoding/binary"

// Elements walks over what a listpack or a ziplist packs into one string, for
// those who don't want the whole value at once. What it gives may be parts of
// that string. The first error stays; from then on there are no elements.
type Elements struct {
	d decoder
	p packed
}

// Listpack begins with the first element of the listpack b.
func Listpack(b []byte) *Elements {
	e := &Elements{}
	e.p = e.d.listpack(b)
	return e
}

// Ziplist begins with the first element of the ziplist b.
func Ziplist(b []byte) *Elements {
	e := &Elements{}
	e.p = e.d.ziplist(b)
	return e
}

// Next gives the next element as commands do; nil at the end or after an error.
func (e *Elements) Next() []byte { return e.p.text() }

// Must is Next where the elements can't end: nil is an error.
func (e *Elements) Must() []byte { return e.p.must() }

// Integer gives the next element where it has to be one.
func (e *Elements) Integer() int64 { return e.p.integer() }

// Score gives the next element where it has to be a score.
func (e *Elements) Score() float64 { return e.p.score() }

// Err is what was wrong.
func (e *Elements) Err() error { return e.d.err }

// Score is what strtod makes of the text that a server wrote for a score.
func Score(text []byte) (float64, error) {
	var d decoder
	return d.score(text), d.err
}

// Intset gives the members of the intset b one by one, as commands do.
func Intset(b []byte, take func(member []byte)) error {
	var d decoder
	d.eachInteger(b, take)
	return d.err
}

// Zipmap gives the fields of the zipmap b one by one.
func Zipmap(b []byte, take func(Field)) error {
	var d decoder
	d.eachZipmapField(b, take)
	return d.err
}

// StreamNode gives the entries of one node of a stream one by one, without
// deleted ones: key is the ID that its entries begin with. An entry of more
// fields than maxFields is ErrTooLong.
func StreamNode(key, listpack []byte, maxFields int, take func(Entry)) error {
	var d decoder
	if len(key) != 16 {
		d.corrupt("a stream node's ID of %d bytes", len(key))
	}
	d.node(key, listpack, maxFields, take)
	return d.err
}

// BigID reads an ID from 16 bytes, the highest first.
func BigID(p []byte) ID {
	return ID{binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:])}
}
