package decode

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// native is what a server's own commands say of a key, as lines.
func native(t *testing.T, c *redis.Client, kind, key string) []string {
	t.Helper()
	ctx := t.Context()
	strs := func(args ...any) []string {
		s, err := c.Do(ctx, args...).StringSlice()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return s
	}
	switch kind {
	case "string":
		s, err := c.Get(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return []string{s}
	case "list":
		return strs("LRANGE", key, 0, -1)
	case "set":
		return sorted(strs("SMEMBERS", key))
	case "zset":
		var lines []string
		for pair := range slices.Chunk(strs("ZRANGE", key, 0, -1, "WITHSCORES"), 2) {
			score, _ := strconv.ParseFloat(pair[1], 64)
			lines = append(lines, scoreLine(pair[0], score))
		}
		return sorted(lines)
	case "hash":
		return nativeHash(t, c, key, strs("HGETALL", key))
	case "stream":
		return nativeStream(t, c, key)
	}
	t.Fatalf("%q is a %s", key, kind)
	return nil
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

// scoreLine keeps the sign of 0 and every bit.
func scoreLine(member string, score float64) string {
	return fmt.Sprintf("%q %x", member, math.Float64bits(score))
}

func nativeHash(t *testing.T, c *redis.Client, key string, flat []string) (lines []string) {
	args := []any{"HPEXPIRETIME", key, "FIELDS", len(flat) / 2}
	for pair := range slices.Chunk(flat, 2) {
		args = append(args, pair[0])
	}
	expiries, err := c.Do(t.Context(), args...).Int64Slice()
	if err != nil && !strings.Contains(err.Error(), "unknown command") {
		t.Fatal(err)
	}
	i := 0
	for pair := range slices.Chunk(flat, 2) {
		at := int64(0)
		if expiries != nil && expiries[i] != -1 {
			at = expiries[i]
		}
		lines = append(lines, fmt.Sprintf("%q=%q %d", pair[0], pair[1], at))
		i++
	}
	return sorted(lines)
}

// nativeStream puts XRANGE and XINFO STREAM FULL into lines. What the server
// doesn't tell has no line.
func nativeStream(t *testing.T, c *redis.Client, key string) []string {
	t.Helper()
	reply, err := c.Do(t.Context(), "XRANGE", key, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range reply {
		lines = append(lines, fmt.Sprintf("%s %q", e.([]any)[0], e.([]any)[1]))
	}
	info := infoMap(t, c.Do(t.Context(), "XINFO", "STREAM", key, "FULL", "COUNT", 0).Val())
	for _, name := range []string{
		"length", "last-generated-id", "recorded-first-entry-id", "max-deleted-entry-id", "entries-added",
		"idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked", "iids-added", "iids-duplicates",
	} {
		if fact, ok := info[name]; ok {
			lines = append(lines, fmt.Sprintf("%s %v", name, fact))
		}
	}
	for _, g := range info["groups"].([]any) {
		group := infoMap(t, g)
		line := fmt.Sprintf("group %q last %s", group["name"], group["last-delivered-id"])
		if read, ok := group["entries-read"]; ok {
			line += fmt.Sprintf(" read %v", read)
		}
		lines = append(lines, line)
		for _, p := range group["pending"].([]any) {
			lines = append(lines, fmt.Sprintf("pending %q", fmt.Sprint(p)))
		}
		for _, c := range group["consumers"].([]any) {
			consumer := infoMap(t, c)
			line := fmt.Sprintf("consumer %q seen %v", consumer["name"], consumer["seen-time"])
			if active, ok := consumer["active-time"]; ok {
				line += fmt.Sprintf(" active %v", active)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func infoMap(t *testing.T, reply any) map[string]any {
	t.Helper()
	flat, ok := reply.([]any)
	if !ok {
		t.Fatalf("XINFO says %v", reply)
	}
	m := map[string]any{}
	for pair := range slices.Chunk(flat, 2) {
		m[pair[0].(string)] = pair[1]
	}
	return m
}

// lines are what native would say of v.
func lines(v *Value) (lines []string) {
	switch v.Type {
	case "string":
		return []string{string(v.String)}
	case "list", "set":
		for _, s := range slices.Concat(v.List, v.Set) {
			lines = append(lines, string(s))
		}
		return lines
	case "hash":
		for _, f := range v.Hash {
			lines = append(lines, fmt.Sprintf("%q=%q %d", f.Name, f.Value, f.ExpireAt))
		}
	case "zset":
		for _, m := range v.Zset {
			lines = append(lines, scoreLine(string(m.Name), m.Score))
		}
	case "stream":
		return streamLines(v.Stream)
	}
	return sorted(lines)
}

func streamLines(s *Stream) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, e := range s.Entries {
		add("%v %q", e.ID, e.Fields)
	}
	add("length %d", s.Length)
	add("last-generated-id %v", s.LastID)
	if s.Revision >= 2 {
		add("recorded-first-entry-id %v", s.FirstID)
		add("max-deleted-entry-id %v", s.MaxDeletedID)
		add("entries-added %d", s.EntriesAdded)
	}
	if x := s.Idempotence; x != nil {
		known := 0
		for _, p := range x.Producers {
			known += len(p.IDs)
		}
		add("idmp-duration %d", x.Seconds)
		add("idmp-maxsize %d", x.Most)
		add("pids-tracked %d", len(x.Producers))
		add("iids-tracked %d", known)
		add("iids-added %d", x.Added)
		add("iids-duplicates %d", x.Duplicates)
	}
	for _, g := range s.Groups {
		line := fmt.Sprintf("group %q last %v", g.Name, g.LastID)
		if s.Revision >= 2 && g.EntriesRead == -1 {
			line += " read <nil>"
		} else if s.Revision >= 2 {
			line += fmt.Sprintf(" read %d", g.EntriesRead)
		}
		lines = append(lines, line)
		for _, p := range g.Pending {
			add("pending %q", fmt.Sprintf("[%v %s %d %d]", p.ID, p.Consumer, p.DeliveredAt, p.Deliveries))
		}
		for _, c := range g.Consumers {
			line := fmt.Sprintf("consumer %q seen %d", c.Name, c.SeenAt)
			if s.Revision >= 3 {
				line += fmt.Sprintf(" active %d", c.ActiveAt)
			}
			lines = append(lines, line)
		}
	}
	return lines
}
