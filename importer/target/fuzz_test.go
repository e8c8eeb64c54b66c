package target

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/route"
)

// FuzzReply reads any line as an error reply: a redirection that is understood
// names a slot and an address that can be dialled.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"MOVED 3999 127.0.0.1:6381", "ASK 0 node-1.example:6379", "MOVED 16383 ::1:7001", "MOVED 5 ?:7002", "MOVED 5 :7002", "MOVED 16384 h:1",
		"MOVED 1 h:65536", "MOVED 1", "ERR Bad data format", "ERR unknown command", "TRYAGAIN", "BUSYKEY x", "", "OOM", "ASK 1 ?:+1",
	} {
		f.Add([]byte(s))
	}
	const from = "10.0.0.7:7000"
	f.Fuzz(func(t *testing.T, line []byte) {
		if v := classify(line); (v == moved) != (string(line) == "MOVED" || strings.HasPrefix(string(line), "MOVED ")) {
			t.Errorf("%q is %d", line, v)
		}
		slot, addr, ok := redirection(line, from)
		if !ok {
			return
		}
		words := strings.Fields(string(line))
		named := words[2][:strings.LastIndexByte(words[2], ':')]
		if strings.ContainsAny(named, "[]") {
			return // no node writes brackets
		}
		if named == "" || named == "?" {
			named = "10.0.0.7"
		}
		host, port, err := net.SplitHostPort(addr)
		n, portErr := strconv.Atoi(port)
		if err != nil || portErr != nil || host != named || n < 1 || n > 65535 || slot >= route.Slots || strings.TrimLeft(words[1], "0") != strings.TrimLeft(strconv.Itoa(int(slot)), "0") {
			t.Errorf("%q gives slot %d at %q", line, slot, addr)
		}
	})
}

// tree makes a reply of nested arrays, numbers and texts out of bytes.
type tree struct{ in []byte }

func (b *tree) byte() byte {
	if len(b.in) == 0 {
		return 0
	}
	c := b.in[0]
	b.in = b.in[1:]
	return c
}

func (b *tree) array(depth int) []any {
	list := make([]any, b.byte()%8)
	for i := range list {
		switch b.byte() % 8 {
		case 0:
			list[i] = nil
		case 1:
			list[i] = int64(b.byte())
		case 2:
			list[i] = int64(b.byte())<<8 | int64(b.byte())
		case 3:
			list[i] = -int64(b.byte())
		case 4:
			list[i] = []string{"", "?", "hostname", "10.0.0.7", "::1", "node-1.example", strings.Repeat("a", 40), "ip"}[b.byte()%8]
		case 5:
			n := min(int(b.byte()%16), len(b.in))
			list[i] = string(b.in[:n])
			b.in = b.in[n:]
		default:
			if depth > 0 {
				list[i] = b.array(depth - 1)
			}
		}
	}
	return list
}

// FuzzTopology reads any reply as that of CLUSTER SLOTS: each slot has an owner
// that the reply names, or none.
func FuzzTopology(f *testing.F) {
	f.Add([]byte("\x01\x06\x03\x02\x00\x00\x02\x3f\xff\x06\x04\x04\x03\x02\x1b\x58\x04\x06\x06\x02\x04\x02\x04\x05"))
	f.Add([]byte("\x02\x06\x03\x01\x00\x01\x09\x06\x02\x04\x01\x01\x07\x06\x03\x02\x3f\xff\x02\x3f\xff\x06\x02\x00\x01\x08"))
	f.Add([]byte("\x01\x06\x03\x03\x01\x02\x40\x00\x06\x00"))
	f.Add([]byte{})
	c := New(Options{Seeds: []string{"10.0.0.1:7000"}})
	f.Fuzz(func(t *testing.T, in []byte) {
		ranges := (&tree{in}).array(4)
		table, err := c.table(ranges, "10.0.0.1:7000")
		if (table == nil) != (err != nil) {
			t.Fatalf("%v gives %v, %v", ranges, table, err)
		}
		if err != nil {
			return
		}
		owned, holes := 0, 0
		for _, n := range table.Counts() {
			owned += n
		}
		for _, h := range table.Holes() {
			holes += int(h.End) - int(h.Start) + 1
		}
		if owned+holes != route.Slots || len(table.Masters()) > len(ranges) {
			t.Errorf("%v: %d slots with a master and %d without, %d masters", ranges, owned, holes, len(table.Masters()))
		}
		for _, r := range ranges { // the last range that names a slot counts
			start := uint16(r.([]any)[0].(int64))
			if m, err := table.Owner(start); err != nil || m.Addr == "" {
				t.Errorf("%v: slot %d belongs to %+v, %v", ranges, start, m, err)
			}
		}
	})
}

// FuzzInfo puts any text in front of what a node says of itself: the facts are
// found behind it.
func FuzzInfo(f *testing.F) {
	f.Add("# Server\r\nredis_version:7.2.4\r\nrun_id:x\r\n", "7.0.15", 5)
	f.Add("valkey_version:8.1.0\nmodule:name=ReJSON,ver=1\ndb0:keys=1,expires=0\n", "9.1", 0)
	f.Add("redis_version:-1.-2\nmaxmemory:99999999999999999999\ndb-1:keys=x\nmodule:\nmodule:name=", "x", -1)
	f.Add("cluster_state:ok\r\ncluster_current_epoch:6\r\n", "", 1)
	client := redis.NewClient(&redis.Options{})
	f.Cleanup(func() { _ = client.Close() })
	f.Fuzz(func(t *testing.T, text, version string, keys int) {
		text = strings.TrimRight(text, "\r\n") + "\r\n"
		for _, name := range []string{"cluster_state", "run_id", "x", ""} {
			if v := infoField(text, name); strings.ContainsAny(v, "\n") || v != "" && !strings.Contains(text, name+":") {
				t.Errorf("%s is %q in %q", name, v, text)
			}
		}
		pipe := client.Pipeline() // is never sent
		answer := preflight.Ask(t.Context(), pipe)
		facts := fmt.Sprintf("%srun_id:abc\r\nredict_version:%s\r\nrole:slave\r\ndb3:keys=%d,expires=0\r\nmodule:name=vectorset,ver=1\r\nmaxmemory:7", text, version, keys)
		pipe.Cmds()[0].(*redis.StringCmd).SetVal(facts)
		pipe.Cmds()[1].(*redis.TimeCmd).SetVal(time.Unix(1, 0))
		s, err := answer()
		if err != nil || s.RunID != "abc" || s.Role != "slave" || s.Keys[3] != int64(keys) || s.MaxMemory != 7 || !s.KnowsType("vectorset") {
			t.Errorf("%q gives %+v, %v", facts, s, err)
		}
		_, _, _ = s.Version.RDB(), s.Version.AtLeast(7, 0), s.Version.String()
	})
}
