package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/dataset"
)

const (
	busyTags    = 6
	busyShare   = 3   // one key in so many has a busy tag
	busyWithin  = 300 // slots, of those that each of three masters has at first
	passingKeys = 300
)

// fill writes the keys that every run carries: all types, and strings under a
// few hash tags. A slot with many keys takes long to move, which makes it
// likely that keys are sent meanwhile.
func fill(ctx context.Context, c *redis.Client, keys int, seed uint64) error {
	o := dataset.Mixed(keys - keys/busyShare)
	o.Seed = int64(seed)
	if _, err := dataset.Fill(ctx, c, o); err != nil {
		return fmt.Errorf("filling the source: %w", err)
	}
	tags := busySlots()
	r := rand.New(rand.NewPCG(seed, 1))
	pipe := c.Pipeline()
	for i := range keys / busyShare {
		v := make([]byte, 20+r.IntN(200))
		for j := range v {
			v[j] = byte(r.Uint32())
		}
		pipe.Set(ctx, fmt.Sprintf("busy:{%s}:%d", tags[i%len(tags)], i), v, 0)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// busySlots returns tags whose slots are among the first of a master, which a
// reshard moves first: as many of each of three.
func busySlots() []string {
	var tags []string
	of := map[int]int{} // master → tags
	for i := 0; len(tags) < busyTags; i++ {
		tag := "b" + strconv.Itoa(i)
		slot := int(route.Slot([]byte(tag)))
		if m := slot / (route.Slots/masters + 1); slot%(route.Slots/masters+1) < busyWithin && of[m] < busyTags/masters {
			of[m]++
			tags = append(tags, tag)
		}
	}
	return tags
}

// pass writes keys that expire while the import runs, in place of those of the
// run before.
func (r *rig) pass(ctx context.Context, random *rand.Rand, within time.Duration) error {
	// The server drops none by itself before a file is saved.
	if err := r.expireKeys(ctx, false); err != nil {
		return err
	}
	pipe := r.source.Client().Pipeline()
	for key := range r.passing {
		pipe.Unlink(ctx, key)
	}
	r.passing = truth{}
	begun := time.Now()
	for i := range passingKeys {
		key := fmt.Sprintf("passing:%d", i)
		at := begun.Add(time.Second + time.Duration(random.Int64N(int64(within)))).UnixMilli()
		pipe.Do(ctx, "SET", key, "soon gone", "PXAT", at)
		r.passing[key] = value{expireAt: at}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("writing keys that expire: %w", err)
	}
	return nil
}

// expireKeys says whether the source looks for expired keys by itself.
func (r *rig) expireKeys(ctx context.Context, on bool) error {
	flag := 0
	if on {
		flag = 1
	}
	return r.source.Client().Do(ctx, "DEBUG", "SET-ACTIVE-EXPIRE", flag).Err()
}

// readTruth reads what the source holds.
func readTruth(ctx context.Context, c *redis.Client) (truth, error) {
	t := truth{}
	err := eachKey(ctx, c, func(key string, v value) { t[key] = v })
	if err != nil {
		return nil, fmt.Errorf("reading the source: %w", err)
	}
	return t, nil
}

// latest is the time of the last expiry, in Unix milliseconds.
func (t truth) latest() int64 {
	var at int64
	for _, v := range t {
		at = max(at, v.expireAt)
	}
	return at
}

// saveTo saves the source's data to a file of its own.
func (r *rig) saveTo(ctx context.Context, path string) error {
	saved, err := r.source.Save(ctx)
	if err != nil {
		return err
	}
	return os.Rename(saved, path)
}
