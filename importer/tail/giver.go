package tail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
)

const (
	publishAt  = 32  // commands that are handed to the pipes in one go
	markEvery  = 256 // commands between positions that may be safe
	clockEvery = 16  // commands between looks at the clock
)

// giver is what belongs to the goroutine that gives commands.
type giver struct {
	ctx    context.Context // of Begin; a record.CommandSink has no room for it
	era    string
	from   int64           // serial of Begin
	end    record.Position // behind the last command
	effect effect.Effect
	tx     transaction
	plain  bool // every key travels, under its own name

	now    int64 // Unix milliseconds
	lag    time.Duration
	ticks  int
	marked int // commands since the last position that may be safe

	open   *page    // being filled
	staged []*entry // to be handed to the pipes
	group  int      // of these, how many may go before the command at hand is whole

	keys    []key  // of the command at hand
	one     [1]key // of a part of it
	words   []word // of it, under new names
	wire    []byte // the same, as it is sent
	renamed []byte
	base    []int64
	highest int64 // of base

	ahead     map[string]int64 // serials up to which keys are as in the source, by name in the target
	aheadOf   []read           // the same in the order of serials
	pending   map[string]*wanted
	order     []*wanted          // pending
	rough     map[string]*wanted // to be read again before the end
	since     time.Time          // of the first of these
	holding   []*checkpoint.Segment
	distrust  int64
	expiring  expiring
	question  []byte
	asking    bool          // group is that of a question and its command
	databases map[int]error // what Options.Database said
}

type word = []byte

// read is a key that was read again.
type read struct {
	name   string
	serial int64
}

func (g *giver) init(c *choice.Choice) {
	g.plain = c.All() && !c.Renames()
	g.base = make([]int64, route.Slots)
	g.ahead, g.pending, g.databases = map[string]int64{}, map[string]*wanted{}, map[int]error{}
	g.rough = map[string]*wanted{}
	g.group = -1
}

// Command takes the next command. It waits while Memory is used up.
func (a *Applier) Command(c *record.Command) error {
	if a.ctx == nil {
		return errors.New("a command before Begin")
	}
	if a.troubled.Load() {
		if err := a.tend(); err != nil {
			return err
		}
	}
	if a.ticks--; a.ticks < 0 {
		a.ticks = clockEvery
		a.clock()
	}
	if err := a.give(c); err != nil {
		return fmt.Errorf("command at %d of the stream: %w", c.End.Serial, err)
	}
	a.end = c.End
	if a.marked++; a.marked >= markEvery && !a.tx.open {
		a.mark()
	}
	a.forget(c.End.Serial)
	if len(a.staged) >= publishAt {
		a.publish()
	}
	if len(a.order) > 0 && !a.tx.open && (len(a.order) >= rereadAtOnce || time.Since(a.since) > rereadEvery) {
		return a.reread()
	}
	return nil
}

// give does what a command asks for, or keeps it until its transaction is whole.
func (a *Applier) give(c *record.Command) error {
	e := &a.effect
	if err := a.effects.Of(c.Words, a.now, e); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if e.Kind == effect.Unknown {
		if err := a.learn(c, e); err != nil {
			return err
		}
	}
	switch e.Kind {
	case effect.Begin:
		return a.tx.begin()
	case effect.Commit:
		return a.commit()
	case effect.Nothing, effect.Select:
		return nil
	}
	a.count.commands.Add(1)
	if a.tx.open && !a.tx.loose {
		return a.keepFor(c)
	}
	return a.apply(c, e)
}

// learn asks for the keys of a command that no table knows.
func (a *Applier) learn(c *record.Command, e *effect.Effect) error {
	name := e.Name
	if a.opts.Learn != nil {
		if first, last, step, ok := a.opts.Learn(a.ctx, name); ok {
			a.mu.Lock()
			a.effects.Learn(name, first, last, step)
			a.mu.Unlock()
			return a.effects.Of(c.Words, a.now, e)
		}
	}
	return fmt.Errorf("%w: nobody tells which keys %s changes", ErrUnknown, name)
}

// clock reads the time and how far the stream is behind.
func (a *Applier) clock() {
	a.now = time.Now().UnixMilli()
	a.lag = a.opts.Lag()
}

// mark notes that everything up to here may be kept as the safe position once it
// is answered.
func (a *Applier) mark() {
	a.marked = 0
	a.tracker.Load().Mark(a.end)
}

// Idle lets nothing wait for more.
func (a *Applier) Idle() error {
	if a.ctx == nil {
		return nil
	}
	if err := a.tend(); err != nil {
		return err
	}
	a.clock()
	a.publish()
	if a.tx.open {
		return nil
	}
	if len(a.order) > 0 {
		if err := a.reread(); err != nil {
			return err
		}
	}
	if a.marked > 0 {
		a.mark()
	}
	return nil
}

// Drain waits until all keys are read again that have to be, and everything is
// answered.
func (a *Applier) Drain(ctx context.Context) error {
	if err := a.Refine(); err != nil {
		return err
	}
	for {
		if err := a.Idle(); err != nil {
			return err
		}
		if err := a.quiet(ctx, func() bool { return a.unanswered == 0 }); err != nil {
			return err
		}
		if len(a.order) == 0 && !a.troubled.Load() {
			return nil
		}
	}
}

// quiet waits until something holds, which is asked under mu.
func (a *Applier) quiet(ctx context.Context, is func() bool) error {
	defer a.pulse.End(a.pulse.Begin(target.Owes("the target", "answers to commands that follow the copy")))
	defer context.AfterFunc(ctx, a.wake)()
	a.mu.Lock()
	defer a.mu.Unlock()
	for !is() && a.err == nil && ctx.Err() == nil {
		a.waitLocked()
	}
	if a.err != nil && !is() {
		return a.err
	}
	return context.Cause(ctx)
}

// publish hands what was gathered to the pipes.
func (a *Applier) publish() {
	if len(a.staged) == 0 {
		return
	}
	a.mu.Lock()
	a.publishLocked()
	a.mu.Unlock()
}

// publishLocked is publish for a caller that holds mu. What belongs to a command
// or transaction that is not whole yet stays.
func (a *Applier) publishLocked() {
	n := len(a.staged)
	if a.group >= 0 {
		n = a.group
		a.group = 0
	}
	if a.open != nil {
		a.countAdded()
	}
	for _, e := range a.staged[:n] {
		s := &a.slots[e.slot]
		if s.tail == nil {
			s.head = e
		} else {
			s.tail.next = e
		}
		s.tail = e
		if s.state == idle {
			a.push(s)
		}
	}
	a.unanswered += n
	a.staged = a.staged[:copy(a.staged, a.staged[n:])]
}
