package target

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
)

// AppendMark appends the name of the key in which a job keeps how far the
// commands of a slot are in: a hash of that very slot, so that it is written in
// one transaction with what the commands change, and moves with them.
func AppendMark(dst []byte, slot uint16, jobHash string) []byte {
	dst = append(dst, checkpoint.MarkPrefix...)
	dst = strconv.AppendUint(dst, uint64(slotTags()[slot]), 10)
	return append(append(dst, "}:"...), jobHash...)
}

// JobHash is what stands for a job in the names of its marks and temporary keys.
func JobHash(job string) string { return jobHash(job) }

// Marks returns what the marks of a job hold, field by field; slots without a
// mark are left out.
func (c *Cluster) Marks(ctx context.Context, job string) (map[uint16]map[string]string, error) {
	var mu sync.Mutex
	marks := map[uint16]map[string]string{}
	err := c.eachMark(ctx, "marks could not be read", func(pipe redis.Pipeliner, slot uint16, name string) func() error {
		fields := pipe.HGetAll(ctx, name)
		return func() error {
			if fields.Err() == nil && len(fields.Val()) > 0 {
				mu.Lock()
				marks[slot] = fields.Val()
				mu.Unlock()
			}
			return fields.Err()
		}
	}, job)
	return marks, err
}

// RemoveMarks removes all marks of a job.
func (c *Cluster) RemoveMarks(ctx context.Context, job string) error {
	return c.eachMark(ctx, "marks could not be removed", func(pipe redis.Pipeliner, _ uint16, name string) func() error {
		removed := pipe.Unlink(ctx, name)
		return removed.Err
	}, job)
}

// marksAtOnce is how many marks are asked for in one go.
const marksAtOnce = 1024

// eachMark asks for something about the mark of each slot, all owners at a time,
// and again for those that could not be told until RetryFor has passed.
func (c *Cluster) eachMark(ctx context.Context, failed string, ask func(redis.Pipeliner, uint16, string) func() error, job string) error {
	hash := jobHash(job)
	slots := make([]uint16, route.Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	for begun, attempt := time.Now(), 1; ; attempt++ {
		rest, err := c.askOwners(ctx, slots, func(pipe redis.Pipeliner, slot uint16) func() error {
			return ask(pipe, slot, string(AppendMark(nil, slot, hash)))
		})
		var reply redis.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(rest) == 0:
			return nil
		case errors.Is(err, endpoint.ErrAuth), errors.As(err, &reply) && classify([]byte(reply.Error())) == forbidden:
			return fmt.Errorf("%w: %s: %w", ErrDenied, failed, err)
		case time.Since(begun) > c.opts.RetryFor:
			return &PatienceError{Addr: "the target", Waited: time.Since(begun), Err: fmt.Errorf("%s: %w", failed, err)}
		}
		slots = rest
		if err := wait.For(ctx, wait.Backoff(attempt)); err != nil {
			return err
		}
		c.refresh(ctx)
	}
}

// askOwners asks the owner of each slot. rest are the slots for which that
// failed, err is one of the reasons.
func (c *Cluster) askOwners(ctx context.Context, slots []uint16, ask func(redis.Pipeliner, uint16) func() error) (rest []uint16, err error) {
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
		wg.Go(func() {
			for share := shares[i]; len(share) > 0; share = share[min(len(share), marksAtOnce):] {
				part := share[:min(len(share), marksAtOnce)]
				pipe := c.client(m.Addr).Pipeline()
				answers := make([]func() error, len(part))
				for k, slot := range part {
					answers[k] = ask(pipe, slot)
				}
				_, _ = pipe.Exec(ctx) // each command's own error counts
				mu.Lock()
				for k, slot := range part {
					if failed := answers[k](); failed != nil {
						rest, err = append(rest, slot), fmt.Errorf("%s: %w", m.Addr, failed)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return rest, err
}

// Passing tells of an error reply whether the same command may be taken later,
// or by another node; Refusing whether this user will never be allowed it.
func Passing(line []byte) bool {
	v := classify(line)
	return v == moved || v == ask || v == pause
}

// Refusing tells of an error reply whether credentials or rights are missing.
func Refusing(line []byte) bool {
	return classify(line) == forbidden && !unknownCommand(&replyError{string(line)})
}
