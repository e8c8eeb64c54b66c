package scan

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
	"github.com/slotferry/slotferry/resp"
)

// pipe is one connection to the source. Several groups of DUMPs are on their
// way at any time, and the SCAN for the next page travels before the last of
// them, so that the server always has something to do.
type pipe struct {
	ctx    context.Context // of the session, which the pipe does not outlive
	conn   net.Conn
	r      *resp.Reader
	source *Source
	sink   *progress
	runID  string
	pttl   bool // no PEXPIRETIME: PTTL with TIME before it
	memory bool // ask for measures, not for values

	out    []byte
	name   []byte
	pages  []*page // not read to the end, some of them not asked for to the end
	spare  []*page
	owed   []debt // what will be answered, in order
	flying int    // keys among it
	flight *flight
	record record.Record
	footer [10]byte
	value  []byte
	next   uint64 // cursor of the SCAN that is not sent yet; 0 for none
	words  map[string]string
}

// page is what one SCAN gave.
type page struct {
	data  []byte
	keys  []span
	asked int    // keys asked for
	read  int    // keys read
	left  int    // keys left out by name or slot, which are not in keys
	next  uint64 // cursor of the page after it, 0 for none

	sizing bool          // keys are not asked for before their sizes are known
	huge   map[int]int64 // sizes of those that are read in parts, in bytes
}

type span struct{ start, end int }

func (p *page) key(i int) []byte { return p.data[p.keys[i].start:p.keys[i].end] }

// debt is the answer to a SCAN of COUNT n (no page), to n keys of a page, or to
// the sizes of n keys.
type debt struct {
	page  *page
	n     int
	sent  time.Time
	sizes bool
}

// prepare makes the connection leave no trace in the source's eviction data.
// Older servers don't know the command, which is as well.
func (p *pipe) prepare() error {
	return p.ask(true, "CLIENT", "NO-TOUCH", "ON")
}

// ask sends one command and waits for a plain answer.
func (p *pipe) ask(mayFail bool, words ...string) error {
	sent := time.Now()
	if _, err := p.conn.Write(resp.AppendCommand(nil, words...)); err != nil {
		return &sourceError{err}
	}
	h, err := p.r.Head()
	if err != nil {
		return &sourceError{err}
	}
	p.flight.answered(time.Since(sent))
	if h.Kind == '-' && !mayFail {
		return refused(h.Line, words[0])
	}
	return p.wire(p.r.Skip(h))
}

// scan reads one database from a cursor to the end.
func (p *pipe) scan(db int, cursor uint64) error {
	if err := p.ask(false, "SELECT", strconv.Itoa(db)); err != nil {
		return err
	}
	p.record.DB = db
	p.flight.begin()
	p.appendScan(cursor)
	if err := p.send(); err != nil {
		return err
	}
	for len(p.owed) > 0 {
		if err := context.Cause(p.ctx); err != nil {
			return err
		}
		d := p.owed[0]
		p.owed = append(p.owed[:0], p.owed[1:]...)
		var err error
		switch {
		case d.page == nil:
			err = p.readPage(d)
		case d.sizes:
			err = p.readSizes(d)
		default:
			err = p.readGroup(d)
		}
		if err != nil {
			return err
		}
		if err := p.topUp(); err != nil {
			return err
		}
	}
	return nil
}

// topUp asks for more until enough is on its way.
func (p *pipe) topUp() error {
	if p.next == 0 && p.nextGroup() == nil {
		return p.send()
	}
	window, rest := p.source.brake.allow(p.flight.keys(), p.flight.mean)
	group := max(1, window/flightParts)
	if rest > 0 {
		if p.flying > 0 {
			return p.send()
		}
		group = window
		if err := wait.For(p.ctx, rest); err != nil {
			return err
		}
		p.source.pulse.Move(1) // it was a rest, not a standstill
	}
	known := window
	if p.source.sized {
		// Sizes take a round trip of their own: one page's are on their way while
		// those of another are known.
		known += 2 * p.flight.pageKeys(p.source.brake.level())
	}
	if p.next != 0 && p.unasked() <= known {
		p.appendScan(p.next)
		p.next = 0
	}
	for p.flying == 0 || p.flying+group <= window {
		g := p.nextGroup()
		if g == nil {
			break
		}
		p.appendGroup(g, min(len(g.keys)-g.asked, group))
	}
	return p.send()
}

// nextGroup returns the first page with keys not asked for, if they may be.
func (p *pipe) nextGroup() *page {
	for i, g := range p.pages {
		if g.asked < len(g.keys) {
			if g.sizing || p.source.sized && i == len(p.pages)-1 && p.scanning() {
				return nil // the sizes of the next page come first, or they would wait for this one's values
			}
			return g
		}
	}
	return nil
}

// scanning reports whether a SCAN is on its way.
func (p *pipe) scanning() bool {
	return slices.ContainsFunc(p.owed, func(d debt) bool { return d.page == nil })
}

// unasked is the number of keys that are not asked for.
func (p *pipe) unasked() int {
	n := 0
	for _, g := range p.pages {
		n += len(g.keys) - g.asked
	}
	return n
}

func (p *pipe) appendScan(cursor uint64) {
	b, count := p.out, p.flight.pageKeys(p.source.brake.level())
	types := p.source.opts.Choice.TypesChosen()
	byType := len(types) == 1 && p.source.server.Version.AtLeast(6, 0)
	if byType {
		b = resp.AppendArray(b, 6)
	} else {
		b = resp.AppendArray(b, 4)
	}
	b = append(b, "$4\r\nSCAN\r\n"...)
	var digits [20]byte
	b = resp.AppendBulk(b, strconv.AppendUint(digits[:0], cursor, 10))
	b = append(b, "$5\r\nCOUNT\r\n"...)
	b = resp.AppendInt(b, int64(count))
	if byType {
		b = append(b, "$4\r\nTYPE\r\n"...)
		b = resp.AppendBulk(b, []byte(types[0]))
	}
	p.out = b
	p.owed = append(p.owed, debt{n: count, sent: time.Now()})
}

func (p *pipe) appendGroup(g *page, n int) {
	for i := g.asked; i < g.asked+n; i++ {
		if _, huge := g.huge[i]; huge {
			p.appendHuge(g.key(i))
		} else {
			p.appendKey(g.key(i))
		}
	}
	g.asked += n
	p.flying += n
	p.owed = append(p.owed, debt{page: g, n: n, sent: time.Now()})
}

func (p *pipe) send() error {
	if len(p.out) == 0 {
		return nil
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.source.opts.Timeout)); err != nil {
		return &sourceError{err}
	}
	_, err := p.conn.Write(p.out)
	p.out = p.out[:0]
	return p.wire(err)
}

// readPage reads the answer to a SCAN. Keys that are left out by name or slot
// are never asked for.
func (p *pipe) readPage(d debt) error {
	if err := p.array(2, "SCAN"); err != nil {
		return err
	}
	cursor, err := p.bulk("SCAN", numberMax)
	if err != nil {
		return err
	}
	g := p.newPage()
	if g.next, err = strconv.ParseUint(string(cursor), 10, 64); err != nil {
		return p.wire(fmt.Errorf("%w: cursor %q", resp.ErrProtocol, cursor))
	}
	h, err := p.r.Head()
	if err != nil {
		return p.wire(err)
	}
	if h.Kind != '*' || h.N < 0 {
		return p.wire(fmt.Errorf("%w: SCAN without keys", resp.ErrProtocol))
	}
	for range h.N {
		key, err := p.bulk("SCAN", p.source.opts.MaxValue)
		if err != nil {
			return err
		}
		if !p.chosen(key) {
			g.left++
			continue
		}
		start := len(g.data)
		g.data = append(g.data, key...)
		g.keys = append(g.keys, span{start, len(g.data)})
	}
	p.flight.answered(time.Since(d.sent))
	p.flight.scanned(d.n, len(g.keys), len(g.data))
	p.next = g.next
	if len(g.keys) > 0 {
		p.pages = append(p.pages, g)
		p.appendSizes(g)
		return nil
	}
	return p.finished(g)
}

// chosen reports whether a key may travel, as far as its name tells.
func (p *pipe) chosen(key []byte) bool {
	c := p.source.opts.Choice
	if !c.Key(p.record.DB, key) {
		return false
	}
	if !c.SlotsChosen() {
		return true
	}
	p.name = c.Name(p.name[:0], p.record.DB, key)
	return c.Slot(route.Slot(p.name))
}

func (p *pipe) newPage() *page {
	if n := len(p.spare); n > 0 {
		g := p.spare[n-1]
		p.spare = p.spare[:n-1]
		*g = page{data: g.data[:0], keys: g.keys[:0]}
		return g
	}
	return &page{}
}

// finished marks the place behind a page whose keys are all told. Pages are
// finished in order, so an empty one waits for those before it.
func (p *pipe) finished(g *page) error {
	if len(p.pages) > 0 && p.pages[0] != g {
		p.pages = append(p.pages, g)
		return nil
	}
	for {
		if len(p.pages) > 0 {
			p.pages = append(p.pages[:0], p.pages[1:]...)
		}
		// Told only now, so that they count on their own page's side of the mark.
		for range g.left {
			p.record = record.Record{DB: p.record.DB, Fate: record.Filtered}
			if err := p.sink.Record(&p.record); err != nil {
				return err
			}
		}
		pos := record.Position{DB: p.record.DB, Cursor: g.next, RunID: p.runID}
		if g.next == 0 {
			pos.DB++ // the next database, if there is one, from its beginning
		}
		p.source.pulse.Well()
		if err := p.sink.Mark(pos); err != nil {
			return err
		}
		p.spare = append(p.spare, g)
		if len(p.pages) == 0 || len(p.pages[0].keys) > 0 {
			return nil
		}
		g = p.pages[0]
	}
}

// readGroup reads the values of some keys of a page.
func (p *pipe) readGroup(d debt) error {
	for i := range d.n {
		key := d.page.key(d.page.read)
		bytes, huge := d.page.huge[d.page.read]
		d.page.read++
		var err error
		if huge {
			err = p.readHuge(key, bytes)
		} else {
			err = p.readKey(key)
		}
		if err != nil {
			return err
		}
		if i == 0 {
			p.flight.answered(time.Since(d.sent))
		}
		p.flying--
		p.settle()
		if err := p.sink.Record(&p.record); err != nil {
			return err
		}
	}
	if d.page.read == len(d.page.keys) {
		return p.finished(d.page)
	}
	return nil
}

// array reads the head of an array of n elements.
func (p *pipe) array(n int64, command string) error {
	h, err := p.r.Head()
	if err != nil {
		return p.wire(err)
	}
	if h.Kind == '-' {
		return refused(h.Line, command)
	}
	if h.Kind != '*' || h.N != n {
		return p.wire(fmt.Errorf("%w: answer to %s", resp.ErrProtocol, command))
	}
	return nil
}

// numberMax is the longest number in bytes: 64 bits, unsigned.
const numberMax = 20

// bulk reads one bulk string that is there, of limit bytes at most.
func (p *pipe) bulk(command string, limit int64) ([]byte, error) {
	h, err := p.r.Head()
	if err != nil {
		return nil, p.wire(err)
	}
	if h.Kind == '-' {
		return nil, refused(h.Line, command)
	}
	if h.Kind != '$' || h.N < 0 {
		return nil, p.wire(fmt.Errorf("%w: answer to %s", resp.ErrProtocol, command))
	}
	if h.N > limit {
		return nil, fmt.Errorf("%s answered with a word of %d bytes, which does not fit into the %d allowed; give more --memory if that is a key's name",
			command, h.N, limit)
	}
	b, _, err := p.r.Body(h.N)
	return b, p.wire(err)
}

// wire marks an error of the connection as one that another connection mends.
func (p *pipe) wire(err error) error {
	if err == nil {
		return nil
	}
	return &sourceError{fmt.Errorf("connection lost: %w", err)}
}

// refused turns an error reply into an error: one that waiting may mend, or not.
func refused(line []byte, command string) error {
	err := fmt.Errorf("the source answered %q to %s", line, command)
	switch word, _, _ := strings.Cut(string(line), " "); word {
	case "LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN":
		return &sourceError{err}
	case "NOPERM", "NOAUTH", "WRONGPASS":
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}
