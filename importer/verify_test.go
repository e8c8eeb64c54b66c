package importer_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// rereader is a scanned server as a verification reads it again.
type rereader struct{ *scan.Source }

func (r rereader) Read(ctx context.Context, db int, keys [][]byte, each func(i int, v verify.Reading) error) error {
	return r.Source.Read(ctx, db, keys, func(i int, v scan.Value) error { return each(i, verify.Reading(v)) })
}

// compared verifies a server, or its file, against a cluster, and returns the
// differences as "kind key", sorted.
func compared(t testing.TB, src *sandbox.Server, path string, c *sandbox.Cluster, o choice.Options) ([]string, importer.Verification, error) {
	t.Helper()
	return comparedWith(t, src, path, c, o, func(*importer.Options, *importer.VerifyOptions) {})
}

// comparedWith is compared with changed options.
func comparedWith(t testing.TB, src *sandbox.Server, path string, c *sandbox.Cluster, o choice.Options, change func(*importer.Options, *importer.VerifyOptions)) ([]string, importer.Verification, error) {
	t.Helper()
	keys, err := choice.New(o)
	must(t, err)
	cluster := target.New(target.Options{
		Seeds: c.Seeds(), Endpoint: endpoint.Endpoint{Password: c.Nodes[0].Password}, ReadOnly: true,
	})
	defer cluster.Close()
	var found []string
	vo := importer.VerifyOptions{Compare: verify.Options{
		Pause:  10 * time.Millisecond,
		Report: func(d verify.Difference) { found = append(found, string(d.Kind)+" "+string(d.Key)) },
	}}
	jo := importer.Options{Job: "verify", Target: cluster, Choice: keys}
	if path != "" {
		file := rdb.New(rdb.Options{Path: path, Choice: keys})
		defer file.Close()
		jo.Source, vo.Names = file, file.Names
	} else {
		server := scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: src.Addr, Password: src.Password}, Choice: keys, Count: 100})
		defer server.Close()
		jo.Source, vo.Names, vo.Compare.Live = server, server.Names, rereader{server}
	}
	change(&jo, &vo)
	v, err := importer.New(jo).Verify(t.Context(), vo)
	slices.Sort(found)
	return found, v, err
}

// TestVerifyAcrossVersions imports between servers of different versions and
// compares: only what could not be imported is missing.
func TestVerifyAcrossVersions(t *testing.T) {
	pairs := [][2]string{
		{"redis-6.0", "redis-7.0"}, {"redis-7.0", "redis-8.0"}, {"redis-8.0", "redis-7.0"}, {"redis-7.0", "redis-6.0"},
		{"redis-7.0", "valkey-8.1"}, {"valkey-9.1", "valkey-9.1"}, {"redis-8.6", "redis-8.6"},
	}
	emptyCluster(t)
	tried := 0
	for _, pair := range pairs {
		from, to := versionBinary(pair[0]), versionBinary(pair[1])
		if from == "" || to == "" {
			continue
		}
		tried++
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			src := source(t, sandbox.Options{Binary: from})
			data := dataset.Mixed(2500)
			data.Functions = pair[1] != "redis-6.0" // which refuses them beforehand
			_, err := dataset.Fill(t.Context(), src.Client(), data)
			must(t, err)
			if pair[0] > pair[1] { // an older target: native commands say less of streams
				streams, _, err := src.Client().ScanType(t.Context(), 0, "*", 1e6, "stream").Result()
				must(t, err)
				must(t, src.Client().Del(t.Context(), streams...).Err())
			}
			path := saved(t, src)
			c := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Binary: to, Password: targetSecret}})
			out := run{from: fromFile(path), target: func(o *target.Options) { o.Seeds = c.Seeds() }}.do(t)
			if out.err != nil && !errors.Is(out.err, importer.ErrFailedKeys) {
				t.Fatal(out.err)
			}
			var want []string
			for _, f := range out.Failures {
				want = append(want, "missing "+string(f.Key))
			}
			slices.Sort(want)
			t.Logf("%d of %d keys could not be imported", out.Failed, out.Read)
			for _, path := range []string{path, ""} {
				found, v, err := compared(t, src, path, c, choice.Options{})
				if !slices.Equal(found, want) && len(want) < 1000 || v.Differences != out.Failed || v.NotComparable != 0 || (err != nil) != (out.Failed > 0) {
					t.Errorf("%d differences, want %d; %+v, %v; the first: %.5q", len(found), len(want), v, err, found)
				}
				if wantTolerance := pair[1] == "redis-6.0" || pair[0] == "redis-6.0" && path == ""; (v.ToleranceMs > 0) != wantTolerance {
					t.Errorf("expiries are compared to %d ms", v.ToleranceMs)
				}
			}
		})
	}
	if tried == 0 {
		t.Skip("SLOTFERRY_SERVERS names no folder with servers of other versions")
	}
}
