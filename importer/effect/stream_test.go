package effect_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/resp"
)

// followStream runs every writing command of the server and reads what a
// replica would be sent.
func followStream(t *testing.T, s *sandbox.Server, known map[string]info) {
	stream := replica(t, s)
	ctx, conn := t.Context(), s.Client().Conn()
	defer conn.Close()
	if err := run(ctx, conn, "SET dumped v"); err != nil {
		t.Fatal(err)
	}
	dump, err := conn.Dump(ctx, "dumped").Result()
	if err != nil {
		t.Fatal(err)
	}
	libraries, _ := conn.FunctionDump(ctx).Result() // not before 7.0
	ran := map[string]bool{"MIGRATE": true}         // it goes as DEL, and needs a second server
	for _, line := range writes {
		plain := strings.TrimPrefix(line, "?")
		name := strings.Fields(plain)[0]
		if _, ok := known[name]; !ok {
			continue
		}
		ran[name] = true
		if err := run(ctx, conn, plain, "DUMP", dump, "LIBRARIES", libraries); err != nil && plain == line {
			t.Errorf("%s: %v", line, err)
		}
	}
	for name, in := range known {
		if in.write && !ran[name] && !slices.Contains(clusterOnly, name) {
			t.Errorf("%s is not among the commands that are tried", name)
		}
	}
	if err := run(ctx, conn, "SET the^end x"); err != nil {
		t.Fatal(err)
	}
	n := 0
	forms := map[string]bool{}
	for {
		words, _, err := stream.Next()
		if err != nil {
			t.Fatalf("after %d commands: %v", n, err)
		}
		n++
		var e effect.Effect
		if err := effect.Of(words, 1, &e); err != nil || e.Kind == effect.Unknown {
			t.Errorf("%q: %+v, %v", words, e, err)
		}
		if e.Relative && known["GETEX"].arity != 0 { // from 6.2 on none is relative
			t.Errorf("%q has a relative expiry", words)
		}
		forms[e.Name] = true
		if e.Name == "SET" && string(words[1]) == "the end" {
			break
		}
	}
	t.Logf("%d commands came, of %d names", n, len(forms))
}

// replica takes the full copy of a server and returns what follows.
func replica(t *testing.T, s *sandbox.Server) *resp.CommandReader {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "PSYNC ? -1\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the full copy: %q, %v", line, err)
		}
		if line[0] == '-' {
			t.Fatalf("the full copy: %q", line)
		}
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "$"); ok {
			size, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				t.Fatalf("the full copy: %q", line)
			}
			if _, err := io.CopyN(io.Discard, r, size); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "REPLCONF ACK 0\r\n"); err != nil {
				t.Fatal(err)
			}
			return resp.NewCommandReader(r, 64<<20)
		}
	}
}

// readRewritten reads the append-only file that a server makes of all values.
func readRewritten(t *testing.T, s *sandbox.Server) {
	ctx, c := t.Context(), s.Client()
	for _, line := range values {
		if err := run(ctx, c, strings.TrimPrefix(line, "?")); err != nil && line[0] != '?' {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{"CONFIG SET aof-use-rdb-preamble no", "CONFIG SET appendonly yes"} {
		if err := run(ctx, c, line); err != nil {
			t.Fatal(err)
		}
	}
	for {
		text, err := c.Info(ctx, "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "aof_rewrite_in_progress:0") && strings.Contains(text, "aof_rewrite_scheduled:0") && strings.Contains(text, "aof_last_bgrewrite_status:ok") {
			break
		}
		if strings.Contains(text, "aof_last_bgrewrite_status:err") {
			t.Fatal("the server could not rewrite its file")
		}
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	paths, _ := filepath.Glob(filepath.Join(s.Dir, "appendonlydir", "*.base.aof"))
	if len(paths) == 0 {
		paths = []string{filepath.Join(s.Dir, "appendonly.aof")}
	}
	f, err := os.Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := resp.NewCommandReader(f, 64<<20)
	forms := map[string]int{}
	for {
		words, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var e effect.Effect
		if err := effect.Of(words, 1, &e); err != nil || e.Kind == effect.Unknown || e.Relative {
			t.Errorf("%q: %+v, %v", words, e, err)
		}
		forms[e.Name]++
	}
	if len(forms) < 8 {
		t.Errorf("only %v", forms)
	}
	t.Log(forms)
}
