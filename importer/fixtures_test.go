package importer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
)

// golden is what a fixture's own server said of it (rdbparse/testdata/make.go).
type golden struct {
	Version   int      `json:"rdb_version"`
	Libraries []string `json:"libraries"`
	Keys      []struct {
		Key      string `json:"key"`
		DB       int    `json:"db"`
		Type     string `json:"type"`
		ExpireAt int64  `json:"expire_at"`
		Dump     string `json:"dump"`
	} `json:"keys"`
}

var fixtureDBs = map[int]string{0: "", 3: "db3:", 9: "db9:"}

// rdbTypes returns the RDB type of every key of a file by its new name.
func rdbTypes(t testing.TB, path string) map[string]byte {
	t.Helper()
	in, err := os.Open(path)
	must(t, err)
	defer in.Close()
	w, err := rdbparse.NewWalker(in, rdbparse.Options{})
	must(t, err)
	types := map[string]byte{}
	for {
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			return types
		}
		must(t, err)
		if e.Kind == rdbparse.KindKey {
			types[fixtureDBs[e.DB]+string(e.Key)] = e.Type
		}
	}
}

// knownBy tells whether a server of an RDB version takes a type, under the
// lowest version that knows it.
func knownBy(rdbVersion int, typ byte) bool {
	lowest := rdbparse.LowestVersion(typ)
	return lowest != 0 && int(lowest) <= rdbVersion && typ != 7 // modules are the server's own affair
}

// rebuilt tells whether native commands of every server make a type's values:
// all but modules' and hashes whose fields expire.
func rebuilt(typ byte) bool { return typ != 7 && (typ < 22 || typ > 25) }

// TestFixtures imports the files of every server version into a cluster of this
// machine's: values that it knows are there, the others are named.
func TestFixtures(t *testing.T) {
	c := emptyCluster(t)
	paths, err := filepath.Glob("../rdbparse/testdata/*.rdb")
	must(t, err)
	if len(paths) < 10 {
		t.Fatalf("only %d fixtures", len(paths))
	}
	if !c.Nodes[0].Version.AtLeast(7, 0) {
		t.Skip("most files have function libraries, for which the cluster is too old")
	}
	ctx, client := t.Context(), c.Client()
	own := rdbVersionOf(t, c.Nodes[0])
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".rdb")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(strings.TrimSuffix(path, ".rdb") + ".json")
			must(t, err)
			var g golden
			must(t, json.Unmarshal(data, &g))
			types := rdbTypes(t, path)
			ways := map[string]func(*bench) importer.Source{"file": fromFile(path), "stream": fromStream(t, path, 1<<20)}
			loader := serverOf(t, name, path)
			if loader != nil {
				ways["scan"] = fromServer(loader)
			}
			for how, from := range ways {
				empty(t, c)
				out := run{from: from, choice: choice.Options{DBMap: fixtureDBs}}.do(t)
				if out.err != nil && !errors.Is(out.err, importer.ErrFailedKeys) {
					t.Fatalf("%s: %s, %v", how, out.Status, out.err)
				}
				failed := map[string]string{}
				for _, f := range out.Failures {
					failed[string(f.Key)] = f.Reason
				}
				if out.Read != int64(len(types)) || out.Failed != int64(len(failed)) || out.Written != out.Read-out.Failed-out.Expired {
					t.Errorf("%s: %+v with %d failures by name, for %d keys", how, out.Counts, len(failed), len(types))
				}
				for key, reason := range failed {
					if knownBy(own, types[key]) || rebuilt(types[key]) {
						t.Errorf("%s: %q of type %d failed: %s", how, key, types[key], reason)
					}
				}
				for _, k := range g.Keys {
					raw, err := base64.StdEncoding.DecodeString(k.Key)
					must(t, err)
					key := fixtureDBs[k.DB] + string(raw)
					kind, err := client.Type(ctx, key).Result()
					must(t, err)
					if _, ok := failed[key]; ok != (kind == "none") {
						t.Errorf("%s: %q is a %s, failed: %q", how, key, kind, failed[key])
					}
					if kind == "none" {
						continue
					}
					if kind != k.Type {
						t.Errorf("%s: %q is a %s, want %s", how, key, kind, k.Type)
					}
					if at, err := client.Do(ctx, "PEXPIRETIME", key).Int64(); err == nil && at != max(k.ExpireAt, -1) && !(k.ExpireAt == 0 && at == -1) {
						t.Errorf("%s: %q expires at %d, want %d", how, key, at, k.ExpireAt)
					}
					dump, err := client.Dump(ctx, key).Result()
					must(t, err)
					sum := sha256.Sum256([]byte(dump))
					// A table's order may differ: the comparison below sees to those.
					if typ := types[key]; name == "redis-7.0" && own == g.Version && typ != 2 && typ != 4 && typ != 15 && hex.EncodeToString(sum[:8]) != k.Dump {
						t.Errorf("%s: the DUMP of %q (type %d) is not the one its own server gave", how, key, typ)
					}
				}
				if g.Version <= own && len(g.Libraries) > 0 {
					if got := libraries(t, c.Nodes[0].Client()); len(got) != len(g.Libraries) {
						t.Errorf("%s: %d libraries, want %d", how, len(got), len(g.Libraries))
					}
				}
				if loader != nil {
					wantSame(t, loader, dataset.CompareOptions{IgnoreConsumerTimes: g.Version > own, Name: func(db int, key string) (string, bool) {
						name := fixtureDBs[db] + key
						return name, failed[name] == ""
					}})
				}
			}
		})
	}
}

// rdbVersionOf reads the RDB version from a DUMP's footer. Those of Valkey and
// Redict above 11 are their own: of Redis' types they know those up to 11.
func rdbVersionOf(t testing.TB, s *sandbox.Server) int {
	t.Helper()
	plain := source(t, sandbox.Options{Binary: s.Binary})
	must(t, plain.Client().Set(t.Context(), "k", "v", 0).Err())
	dump, err := plain.Client().Dump(t.Context(), "k").Result()
	must(t, err)
	_, _, version, err := rdbparse.SplitPayload([]byte(dump))
	must(t, err)
	if s.Version.Name != "Redis" {
		version = min(version, 11)
	}
	return int(version)
}

// serverOf starts a server of the fixture's own version with its data, if it is
// at hand; nil if not.
func serverOf(t testing.TB, name, path string) *sandbox.Server {
	t.Helper()
	binary := versionBinary(strings.Join(strings.SplitN(name, "-", 3)[:2], "-"))
	if binary == "" {
		return nil
	}
	return source(t, sandbox.Options{Binary: binary, RDB: path})
}

// versionBinary returns the server of a version in the folder that
// SLOTFERRY_SERVERS names, "" if it is not there.
func versionBinary(version string) string {
	dir := os.Getenv("SLOTFERRY_SERVERS")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, version, "bin", "redis-server")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// TestSourceVersions scans servers of all versions that are at hand. Those
// before 7.0 tell expiries by PTTL and TIME only.
func TestSourceVersions(t *testing.T) {
	c := emptyCluster(t)
	versions := []string{"redis-6.0", "redis-7.0", "redis-8.0", "redis-8.6", "redict-7.3", "valkey-8.0", "valkey-8.1", "valkey-9.1"}
	binaries := map[string]string{"the system's": ""}
	for _, v := range versions {
		if b := versionBinary(v); b != "" {
			binaries[v] = b
		}
	}
	own := rdbVersionOf(t, c.Nodes[0])
	for version, binary := range binaries {
		t.Run(version, func(t *testing.T) {
			src := source(t, sandbox.Options{Binary: binary})
			ctx := t.Context()
			_, err := dataset.Fill(ctx, src.Client(), dataset.Mixed(1500))
			must(t, err)
			newer := rdbVersionOf(t, src) > own
			if newer { // theirs have pending entries that were deleted, which no command makes
				streams, _, err := src.Client().ScanType(ctx, 0, "*", 1e6, "stream").Result()
				must(t, err)
				for _, key := range streams {
					must(t, src.Client().Del(ctx, key).Err())
				}
			}
			at := time.Now().Add(time.Hour).UnixMilli()
			expiring := func(i int64) string { return fmt.Sprintf("expires:%d", i) }
			for i := range int64(300) {
				must(t, src.Client().Do(ctx, "SET", expiring(i), "x").Err(), src.Client().Do(ctx, "PEXPIREAT", expiring(i), at+i).Err())
			}
			path := saved(t, src)
			types := rdbTypes(t, path)
			for how, from := range sources(t, src, path) {
				empty(t, c)
				r := run{from: from, dir: t.TempDir(), stop: 500}
				r.do(t).wantInterrupted(t)
				r.stop = 0
				out := r.do(t)
				if out.err != nil && !errors.Is(out.err, importer.ErrFailedKeys) {
					t.Fatalf("%s: %s, %v", how, out.Status, out.err)
				}
				failed := map[string]bool{}
				for _, f := range out.Failures {
					failed[string(f.Key)] = true
					if knownBy(own, types[string(f.Key)]) || rebuilt(types[string(f.Key)]) {
						t.Errorf("%s: %q of type %d failed: %s", how, f.Key, types[string(f.Key)], f.Reason)
					}
				}
				if out.Failed != int64(len(failed)) && out.Failed < 1000 || out.Read < 1700 {
					t.Errorf("%s: %+v", how, out.Counts)
				}
				wantSame(t, src, dataset.CompareOptions{IgnoreConsumerTimes: newer, Name: func(_ int, key string) (string, bool) { return key, !failed[key] }})
				// The dataset's comparison allows for PTTL's coarseness over thousands of keys; this does not.
				for i := range int64(300) {
					got, err := c.Client().Do(ctx, "PEXPIRETIME", expiring(i)).Int64()
					if err != nil {
						break // a target before 7.0
					}
					late := got - (at + i)
					if exact := src.Version.AtLeast(7, 0) || how != "scan"; exact && late != 0 || late < -2 || late > 2 {
						t.Fatalf("%s: %q expires %d ms late", how, expiring(i), late)
					}
				}
			}
		})
	}
}
