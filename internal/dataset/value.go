package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// compareValue says how two keys of different DUMP bytes differ, or nothing when
// their values are the same.
func (c *comparison) compareValue(ctx context.Context, src *redis.Client, p pair) (string, error) {
	want, err := src.Type(ctx, p.key).Result()
	if err != nil {
		return "", err
	}
	got, err := c.target.Type(ctx, p.name).Result()
	if err != nil {
		return "", err
	}
	if want != got {
		return fmt.Sprintf("type %s, not %s", got, want), nil
	}
	read := readers[want]
	if read == nil {
		return "DUMP differs, and values of type " + want + " are not understood", nil
	}
	a, err := read(ctx, side{src, c.srcAble}, p.key, c.o)
	if err != nil {
		return "", fmt.Errorf("reading the source's value: %w", err)
	}
	b, err := read(ctx, side{c.target, c.targetAble}, p.name, c.o)
	if err != nil {
		return "", fmt.Errorf("reading the target's value: %w", err)
	}
	if want == "stream" {
		a, b = commonFields(a, b), commonFields(b, a)
	}
	return firstDifference(a, b), nil
}

// side is the source or the target.
type side struct {
	doer
	able abilities
}

// readers return a value as lines in an order that doesn't depend on how the
// server stores it.
var readers = map[string]func(ctx context.Context, s side, key string, o CompareOptions) ([]string, error){
	"string": func(ctx context.Context, s side, key string, _ CompareOptions) ([]string, error) {
		v, err := s.Do(ctx, "GET", key).Text()
		return []string{v}, err
	},
	"list": func(ctx context.Context, s side, key string, _ CompareOptions) ([]string, error) {
		return s.Do(ctx, "LRANGE", key, 0, -1).StringSlice()
	},
	"set": func(ctx context.Context, s side, key string, _ CompareOptions) ([]string, error) {
		members, err := s.Do(ctx, "SMEMBERS", key).StringSlice()
		sort.Strings(members)
		return members, err
	},
	"hash": readHash, "zset": readZset, "stream": readStream,
}

func readHash(ctx context.Context, s side, key string, _ CompareOptions) ([]string, error) {
	flat, err := s.Do(ctx, "HGETALL", key).StringSlice()
	if err != nil || len(flat) == 0 {
		return nil, err
	}
	var expiries []int64
	if s.able.fieldTTL {
		args := []any{"HPEXPIRETIME", key, "FIELDS", len(flat) / 2}
		for i := 0; i < len(flat); i += 2 {
			args = append(args, flat[i])
		}
		if expiries, err = s.Do(ctx, args...).Int64Slice(); err != nil {
			return nil, err
		}
	}
	lines := make([]string, 0, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		line := fmt.Sprintf("%q = %q", flat[i], flat[i+1])
		if expiries != nil && expiries[i/2] >= 0 {
			line += fmt.Sprintf(" until %d", expiries[i/2])
		}
		lines = append(lines, line)
	}
	sort.Strings(lines)
	return lines, nil
}

func readZset(ctx context.Context, s side, key string, _ CompareOptions) ([]string, error) {
	flat, err := s.Do(ctx, "ZRANGE", key, 0, -1, "WITHSCORES").StringSlice()
	if err != nil {
		return nil, err
	}
	lines := make([]string, 0, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		// Servers write the same number with 17 digits or with as few as needed.
		score, err := strconv.ParseFloat(flat[i+1], 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%q %s", flat[i], strconv.FormatFloat(score, 'g', -1, 64)))
	}
	return lines, nil
}

// readStream flattens XINFO STREAM FULL to `path = value` lines: entries,
// groups, consumers and pending entries, without what only says how they are
// stored.
func readStream(ctx context.Context, s side, key string, o CompareOptions) ([]string, error) {
	info, err := s.Do(ctx, "XINFO", "STREAM", key, "FULL", "COUNT", 0).Result()
	if err != nil {
		return nil, err
	}
	// A lag follows from what is compared, and versions disagree on how.
	left := []string{"radix-tree-keys", "radix-tree-nodes", "lag"}
	if o.IgnoreConsumerTimes {
		left = append(left, "seen-time", "active-time")
	}
	if o.IgnoreEntriesRead {
		left = append(left, "entries-read")
	}
	var lines []string
	flattenMap("", info, left, &lines)
	return lines, nil
}

func flattenMap(path string, v any, left []string, lines *[]string) {
	list, ok := v.([]any)
	if !ok {
		*lines = append(*lines, fmt.Sprintf("%s = %v", path, v))
		return
	}
	for i := 0; i+1 < len(list); i += 2 {
		name := fmt.Sprint(list[i])
		if slices.Contains(left, name) {
			continue
		}
		below := path + "/" + name
		items, ok := list[i+1].([]any)
		switch {
		case ok && (name == "groups" || name == "consumers"):
			*lines = append(*lines, fmt.Sprintf("%s = %d of them", below, len(items)))
			for n, item := range items {
				flattenMap(below+"/"+strconv.Itoa(n), item, left, lines)
			}
		case ok: // entries, pending entries
			*lines = append(*lines, fmt.Sprintf("%s = %d of them", below, len(items)))
			for _, item := range items {
				*lines = append(*lines, fmt.Sprintf("%s = %q", below, item))
			}
		default:
			*lines = append(*lines, fmt.Sprintf("%s = %q", below, fmt.Sprint(list[i+1])))
		}
	}
}

// commonFields leaves out the lines of fields that the other side never has:
// newer servers tell more.
func commonFields(a, other []string) []string {
	has := map[string]bool{}
	field := func(line string) string {
		path, _, _ := strings.Cut(line, " = ")
		return path[strings.LastIndexByte(path, '/')+1:]
	}
	for _, line := range other {
		has[field(line)] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool { return !has[field(line)] })
}

// firstDifference says where two values part; "" if nowhere.
func firstDifference(want, got []string) string {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("element %d of %d is %s, not %s", i, len(got), clip(got[i]), clip(want[i]))
		}
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%d elements, not %d", len(got), len(want))
	}
	return ""
}

func clip(s string) string {
	const longest = 80
	if len(s) > longest {
		return fmt.Sprintf("%q… (%d bytes)", s[:longest], len(s))
	}
	return fmt.Sprintf("%q", s)
}
