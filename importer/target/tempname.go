package target

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
)

// slotTags holds for each slot a number that is, as a hash tag, of that slot.
var slotTags = sync.OnceValue(func() *[route.Slots]uint32 {
	tags, found := new([route.Slots]uint32), 0
	var digits []byte
	for i := uint32(1); found < route.Slots; i++ {
		digits = strconv.AppendUint(digits[:0], uint64(i), 10)
		if slot := route.Slot(digits); tags[slot] == 0 {
			tags[slot] = i
			found++
		}
	}
	return tags
})

// tempName is where the values of a slot are built, one after the other. It is
// told from the job, so that another run finds what this one may leave.
func (c *Cluster) tempName(slot uint16) []byte {
	name := strconv.AppendUint([]byte(checkpoint.TempPrefix), uint64(slotTags()[slot]), 10)
	return append(append(name, "}:"...), c.jobHash...)
}

func jobHash(job string) string {
	sum := sha256.Sum256([]byte(job))
	return hex.EncodeToString(sum[:4])
}

// sweepTimeout bounds the wait for a node's answer while temporary keys are
// removed that nobody may have left.
const sweepTimeout = 5 * time.Second

// Sweep removes the temporary keys that an earlier run of the job may have left
// when it was killed. A user who may not remove keys could not have made any.
func (c *Cluster) Sweep(ctx context.Context) error {
	slots := make([]uint16, route.Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	for begun, attempt := time.Now(), 1; ; attempt++ {
		removed, rest, err := c.unlinkTemps(ctx, slots, sweepTimeout)
		if removed > 0 {
			c.log.Info("removed unfinished values that an earlier run left in the target", zap.Int64("keys", removed))
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrDenied):
			c.log.Info("temporary keys of an earlier run are not looked for: the user may not make any", zap.Error(err))
			return nil
		case len(rest) == 0:
			return nil
		case time.Since(begun) > c.opts.RetryFor:
			return &PatienceError{Addr: "the target", Waited: time.Since(begun), Err: fmt.Errorf("temporary keys of an earlier run could not be removed: %w", err)}
		}
		slots = rest
		if err := wait.For(ctx, wait.Backoff(attempt)); err != nil {
			return err
		}
		c.refresh(ctx)
	}
}

// unlinkTemps removes the temporary keys of slots from their owners, all owners
// at a time. rest are the slots for which that could not be done.
func (c *Cluster) unlinkTemps(ctx context.Context, slots []uint16, timeout time.Duration) (removed int64, rest []uint16, err error) {
	table := c.Table()
	shares := make([][]uint16, len(table.Masters()))
	for _, slot := range slots {
		if at := table.Index(slot); at >= 0 {
			shares[at] = append(shares[at], slot)
		} else {
			rest, err = append(rest, slot), fmt.Errorf("slot %d: %w", slot, route.ErrNoOwner)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, m := range table.Masters() {
		if len(shares[i]) == 0 {
			continue
		}
		wg.Go(func() {
			n, left, failed := c.unlinkOn(ctx, m.Addr, shares[i], timeout)
			mu.Lock()
			defer mu.Unlock()
			removed += n
			rest = append(rest, left...)
			if failed != nil && (err == nil || errors.Is(failed, ErrDenied)) {
				err = failed
			}
		})
	}
	wg.Wait()
	return removed, rest, err
}

// unlinkOn removes the temporary keys of slots from a node.
func (c *Cluster) unlinkOn(ctx context.Context, addr string, slots []uint16, timeout time.Duration) (removed int64, rest []uint16, err error) {
	t, err := c.dialTalk(ctx, addr, timeout, func() {})
	if err != nil {
		return 0, slots, c.denied(addr, err)
	}
	defer t.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = t.conn.Close() })()
	for _, slot := range slots {
		t.addWords([][]byte{[]byte("UNLINK"), c.tempName(slot)})
	}
	if err := t.flush(); err != nil {
		return 0, slots, err
	}
	for i, slot := range slots {
		a, readErr := t.answer()
		if readErr != nil {
			return removed, append(rest, slots[i:]...), readErr
		}
		if a.err != "" {
			rest, err = append(rest, slot), c.denied(addr, &replyError{a.err})
		}
		removed += a.n
	}
	return removed, rest, err
}

// denied makes a refusal for want of rights an ErrDenied that says what values
// rebuilt with native commands need.
func (c *Cluster) denied(addr string, err error) error {
	var said *replyError
	if errors.As(err, &said) && classify([]byte(said.line)) == forbidden {
		return fmt.Errorf("%w: %s answered %q; values that are rebuilt need %s on ~*, on every node", ErrDenied, addr, said.line, c.rebuildRights())
	}
	return err
}

// rebuildRights are the commands with which values are rebuilt. A server refuses
// a rule with commands that it does not know.
func (c *Cluster) rebuildRights() string {
	rights := "+multi +exec +exists +unlink +rename +renamenx +pexpire +pexpireat +persist +pttl +set +append +rpush +sadd +zadd +hset +hdel " +
		"+xadd +xdel +xtrim +xsetid +xgroup +xclaim +xreadgroup"
	target := c.commandOptions().Target
	if target.FieldExpiry {
		rights += " +hpexpireat"
	}
	if target.Idempotence {
		rights += " +xcfgset +xidmprecord"
	}
	return rights
}
