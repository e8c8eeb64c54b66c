package rdbparse

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hdt3213/rdb/parser"
	"github.com/redis/go-redis/v9"
)

// serversEnv names a folder of servers (redis-8.0/bin/redis-server, …), each of
// which then takes the payloads of its own fixture. Without it only the
// system's redis-server is tried.
const serversEnv = "SLOTFERRY_SERVERS"

// startServer runs a server until the test ends.
func startServer(t *testing.T, binary string) *redis.Client {
	t.Helper()
	path, err := exec.LookPath(binary)
	if err != nil {
		t.Fatalf("install redis-server: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", filepath.Dir(socket))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2})
	t.Cleanup(func() {
		_ = c.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for range 500 {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return c
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("redis-server doesn't answer")
	return nil
}

// TestRestore gives every framed payload to a real server, which must answer
// DUMP with the same bytes.
func TestRestore(t *testing.T) {
	servers := map[string]string{"redis-7.0": "redis-server"}
	if dir := os.Getenv(serversEnv); dir != "" {
		for _, name := range fixtureNames {
			if path := filepath.Join(dir, name, "bin", "redis-server"); !strings.HasSuffix(name, "-plain") && !strings.HasSuffix(name, "-nocrc") {
				servers[name] = path
			}
		}
	}
	for name, binary := range servers {
		t.Run(name, func(t *testing.T) {
			c := startServer(t, binary)
			version := readGolden(t, name).Version
			for _, k := range keysOf(mustWalk(t, readFixture(t, name), Options{})) {
				for _, v := range []uint16{version, LowestVersion(k.Type)} {
					restoreAndDump(t, c, k, v, version)
				}
			}
		})
	}
}

func restoreAndDump(t *testing.T, c *redis.Client, k item, stamped, version uint16) {
	t.Helper()
	ctx := context.Background()
	key := string(k.Key)
	payload := AppendPayload(nil, k.Type, k.Value, stamped)
	if err := c.Do(ctx, "RESTORE", key, k.ExpireAt, payload, "REPLACE", "ABSTTL").Err(); err != nil {
		t.Errorf("RESTORE %q of type %d, stamped %d: %v", key, k.Type, stamped, err)
		return
	}
	dump, err := c.Dump(ctx, key).Result()
	if err != nil {
		t.Errorf("DUMP %q: %v", key, err)
		return
	}
	typ, value, v, err := SplitPayload([]byte(dump))
	if err != nil || typ != k.Type || v != version {
		t.Errorf("DUMP %q: type %d, version %d, %v", key, typ, v, err)
		return
	}
	if typ == TypeModule2 {
		return // vector sets link their elements anew
	}
	if !slices.Equal(elements(t, typ, value), elements(t, typ, k.Value)) {
		t.Errorf("DUMP %q of type %d differs from what was restored", key, typ)
	}
}

// elements is the whole value as it stands, except for hash tables: each server
// has them in an order of its own.
func elements(t *testing.T, typ byte, value []byte) []string {
	t.Helper()
	each := map[byte]uint64{TypeSet: 1, TypeHash: 2, TypeHashTTL: 2, ValkeyHash2: 2}[typ]
	if each == 0 {
		return []string{string(value)}
	}
	w := windowOver(value)
	if typ == TypeHashTTL {
		w.pos += 8
	}
	n, err := w.length()
	out := []string{fmt.Sprint(n)}
	for ; err == nil && n > 0; n-- {
		start := w.pos
		if typ == TypeHashTTL {
			err = w.lengths(1)
		}
		if err == nil {
			err = w.nStrings(each, 0)
		}
		if err == nil && typ == ValkeyHash2 {
			err = w.skip(8)
		}
		out = append(out, string(value[start:w.pos]))
	}
	if err != nil || w.pos != len(value) {
		t.Errorf("type %d: %v, %d of %d bytes", typ, err, w.pos, len(value))
	}
	slices.Sort(out)
	return out
}

// TestOldTypes shows that the hand-made values of types which no server of
// today writes are what they are taken for.
func TestOldTypes(t *testing.T) {
	c := startServer(t, "redis-server")
	ctx := context.Background()
	ask := map[string]func(key string) any{
		"list":   func(k string) any { return c.LRange(ctx, k, 0, -1).Val() },
		"set":    func(k string) any { return c.SMembers(ctx, k).Val() },
		"zset":   func(k string) any { return c.ZRangeWithScores(ctx, k, 0, -1).Val() },
		"hash":   func(k string) any { return c.HGetAll(ctx, k).Val() },
		"stream": func(k string) any { return c.XLen(ctx, k).Val() },
	}
	for _, tc := range handMade {
		if tc.onServer == "" {
			continue
		}
		payload := AppendPayload(nil, tc.typ, []byte(tc.value), LowestVersion(tc.typ))
		if err := c.Restore(ctx, tc.name, 0, string(payload)).Err(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := fmt.Sprint(ask[TypeName(Redis, tc.typ)](tc.name)); got != tc.onServer {
			t.Errorf("%s is %s, want %s", tc.name, got, tc.onServer)
		}
	}
}

// TestCheckRDB compares the number of keys with what redis-check-rdb counts.
func TestCheckRDB(t *testing.T) {
	path, err := exec.LookPath("redis-check-rdb")
	if err != nil {
		t.Fatal("install redis-tools, for redis-check-rdb")
	}
	for _, name := range []string{"redis-6.0", "redis-7.0", "redis-7.0-plain", "redis-7.0-nocrc"} {
		out, err := exec.Command(path, filepath.Join("testdata", name+".rdb")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		m := regexp.MustCompile(`(\d+) keys read`).FindSubmatch(out)
		if m == nil {
			t.Fatalf("no count in\n%s", out)
		}
		want, _ := strconv.Atoi(string(m[1]))
		if got := len(keysOf(mustWalk(t, readFixture(t, name), Options{}))); got != want {
			t.Errorf("%s: %d keys, redis-check-rdb counts %d", name, got, want)
		}
	}
}

// TestOtherParser compares with an independent reader of the format.
func TestOtherParser(t *testing.T) {
	type key struct {
		key      string
		db       int
		typ      string
		expireAt int64
	}
	for _, name := range []string{"redis-6.0", "redis-7.0", "redis-7.0-plain", "redis-7.0-nocrc"} {
		data := readFixture(t, name)
		var want, got []key
		// It stumbles over lists with nodes of one element (v1.3.1, in its
		// estimate of memory), so that key is cut out of the file.
		for _, k := range keysOf(mustWalk(t, data, Options{})) {
			if string(k.Key) == "list:plain" {
				data = slices.Concat(data[:k.Offset], data[k.ValueOffset+k.ValueLen:])
			}
		}
		err := parser.NewDecoder(bytes.NewReader(data)).Parse(func(o parser.RedisObject) bool {
			k := key{key: o.GetKey(), db: o.GetDBIndex(), typ: o.GetType()}
			if at := o.GetExpiration(); at != nil {
				k.expireAt = at.UnixMilli()
			}
			want = append(want, k)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		items, err := walkBytes(data, Options{SkipCRC: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keysOf(items) {
			got = append(got, key{string(k.Key), k.DB, TypeName(Redis, k.Type), k.ExpireAt})
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
}
