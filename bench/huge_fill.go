package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"
)

const (
	fillBatch = 5000 // elements of one command
	fillAhead = 20   // commands of one pipeline
)

// fillString writes n bytes that LZF shrinks to a few hundredths.
func fillString(ctx context.Context, c *redis.Client, key string, n int) error {
	part := bytes.Repeat([]byte("a value that is easily compressed, "), bigBatch/32)
	for done := 0; done < n; done += len(part) {
		if err := c.Append(ctx, key, string(part[:min(len(part), n-done)])).Err(); err != nil {
			return err
		}
	}
	return nil
}

// fillNoise writes n bytes that don't compress.
func fillNoise(ctx context.Context, c *redis.Client, key string, n int) error {
	noise := rand.NewChaCha8([32]byte{})
	part := make([]byte, bigBatch)
	for done := 0; done < n; done += len(part) {
		_, _ = noise.Read(part) // never fails
		if err := c.Append(ctx, key, string(part[:min(len(part), n-done)])).Err(); err != nil {
			return err
		}
	}
	return nil
}

// fillBy writes n elements by commands that begin with words; element appends
// the i-th one's.
func fillBy(ctx context.Context, c *redis.Client, n int, element func(words []any, i int) []any, words ...any) error {
	pipe := c.Pipeline()
	for i := 0; i < n; {
		command := append([]any(nil), words...)
		for end := min(n, i+fillBatch); i < end; i++ {
			command = element(command, i)
		}
		pipe.Do(ctx, command...)
		if pipe.Len() == fillAhead || i == n {
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func fillHash(ctx context.Context, c *redis.Client, key string, n int) error {
	return fillBy(ctx, c, n, func(words []any, i int) []any {
		return append(words, "field:"+strconv.Itoa(i), "value "+strconv.Itoa(i*7919))
	}, "HSET", key)
}

func fillList(ctx context.Context, c *redis.Client, key string, n int) error {
	return fillBy(ctx, c, n, func(words []any, i int) []any { return append(words, "element:"+strconv.Itoa(i)) }, "RPUSH", key)
}

func fillSet(ctx context.Context, c *redis.Client, key string, n int) error {
	return fillBy(ctx, c, n, func(words []any, i int) []any { return append(words, "member:"+strconv.Itoa(i)) }, "SADD", key)
}

func fillZset(ctx context.Context, c *redis.Client, key string, n int) error {
	return fillBy(ctx, c, n, func(words []any, i int) []any {
		return append(words, strconv.FormatFloat(float64(i)/7, 'g', -1, 64), "member:"+strconv.Itoa(i))
	}, "ZADD", key)
}

// fillStream writes entries, of which three groups have read a part and left
// some unacknowledged.
func fillStream(ctx context.Context, c *redis.Client, key string, n int) error {
	pipe := c.Pipeline()
	for i := 1; i <= n; i++ {
		pipe.Do(ctx, "XADD", key, fmt.Sprintf("%d-1", i), "field", strconv.Itoa(i), "other", "something of the same kind")
		if pipe.Len() == 1000 || i == n {
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
		}
	}
	for g, read := range []int{n / 10, n / 100, 0} {
		group := fmt.Sprintf("group:%d", g)
		if err := c.XGroupCreate(ctx, key, group, "0").Err(); err != nil {
			return err
		}
		for done := 0; done < read; done += 1000 {
			err := c.Do(ctx, "XREADGROUP", "GROUP", group, fmt.Sprintf("consumer:%d", done/1000%3), "COUNT", 1000, "STREAMS", key, ">").Err()
			if err != nil {
				return err
			}
		}
	}
	return nil
}
