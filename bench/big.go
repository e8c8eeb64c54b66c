package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"
)

const (
	bigShare   = 5000    // keys of another data set for each big one, so that the bytes are alike
	bigElement = 4 << 10 // bytes of a list's element
	bigField   = 256     // bytes of a hash's value
	bigBatch   = 1 << 20 // bytes of one command
)

// bigMiB are the sizes of twenty neighbours; 126 MiB together.
var bigMiB = [20]int{1, 2, 1, 4, 1, 2, 8, 1, 2, 4, 1, 16, 1, 2, 1, 8, 4, 2, 1, 64}

var bigKinds = [4]string{"string", "hash", "string", "list"}

// bigFewest keys have every type, and sizes up to 16 MiB.
const bigFewest = 12

func bigKeys(asked int) int { return max(bigFewest, asked/bigShare) }

// bigOf returns the type and size of key i. Each size comes in each type after
// some rounds.
func bigOf(i int) (kind string, bytes int) {
	n := len(bigMiB)
	return bigKinds[(i+i/n)%len(bigKinds)], bigMiB[i%n] << 20
}

func fillBig(ctx context.Context, c *redis.Client, keys int) error {
	r := rand.New(rand.NewPCG(21, 21))
	material := make([]byte, 8<<20)
	for i := range material {
		material[i] = byte(r.Uint32())
	}
	random := func(n int) []byte {
		at := r.IntN(len(material) - n)
		return material[at : at+n]
	}
	for i := range keys {
		kind, bytes := bigOf(i)
		if err := setBig(ctx, c, fmt.Sprintf("big:%s:%04d", kind, i), kind, bytes, random); err != nil {
			return fmt.Errorf("filling: key %d, a %s of %d bytes: %w", i, kind, bytes, err)
		}
	}
	return nil
}

// setBig writes one value by commands of at most bigBatch bytes.
func setBig(ctx context.Context, c *redis.Client, name, kind string, bytes int, random func(int) []byte) error {
	for done := 0; done < bytes; done += bigBatch {
		args := []any{"APPEND", name}
		switch kind {
		case "string":
			args = append(args, random(bigBatch))
		case "list":
			args[0] = "RPUSH"
			for range bigBatch / bigElement {
				args = append(args, random(bigElement))
			}
		case "hash":
			args[0] = "HSET"
			for n := range bigBatch / bigField {
				args = append(args, "field:"+strconv.Itoa(done/bigField+n), random(bigField))
			}
		}
		if err := c.Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
	return nil
}
