package preflight

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

func TestTakes(t *testing.T) {
	old := []byte{0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 15} // of RDB 9
	until7 := slices.Concat(old, []byte{16, 17, 18, 19})
	until72 := slices.Concat(until7, []byte{20, 21})
	for _, tc := range []struct {
		v             Version
		redis, valkey []byte
	}{
		{Version{"redis", 6, 0, 16}, old, old},
		{Version{"redis", 7, 0, 15}, until7, until7},
		{Version{"redis", 7, 2, 4}, until72, until72},
		{Version{"redis", 7, 4, 0}, slices.Concat(until72, []byte{24, 25}), until72},
		{Version{"redis", 8, 0, 2}, slices.Concat(until72, []byte{24, 25}), until72},
		{Version{"redis", 8, 6, 3}, slices.Concat(until72, []byte{24, 25, 26}), until72},
		{Version{"redict", 7, 3, 6}, until72, until72},
		{Version{"valkey", 7, 2, 5}, until72, until72},
		{Version{"valkey", 8, 1, 1}, until72, until72},
		{Version{"valkey", 9, 1, 2}, until72, slices.Concat(until72, []byte{22})},
	} {
		for vendor, types := range map[rdbparse.Vendor][]byte{rdbparse.Redis: tc.redis, rdbparse.Valkey: tc.valkey} {
			for typ := range 256 {
				want := slices.Contains(types, byte(typ))
				if got := tc.v.Takes(vendor, byte(typ)); got != want {
					t.Errorf("%s takes %s type %d: %t, want %t", tc.v, vendor, typ, got, want)
				}
			}
		}
	}
}

// TestServersTake gives a value of each type, as servers of all versions wrote
// them, to servers of the versions at hand.
func TestServersTake(t *testing.T) {
	type kind struct {
		vendor rdbparse.Vendor
		typ    byte
	}
	values := map[kind][]byte{}
	files, err := filepath.Glob("../../rdbparse/testdata/*.rdb")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := rdbparse.NewWalker(bytes.NewReader(data), rdbparse.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, err := w.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == rdbparse.KindKey && e.Value != nil && e.Meta == nil && e.Type != moduleType {
				values[kind{w.Header().Vendor, e.Type}] = bytes.Clone(e.Value)
			}
		}
	}
	if len(values) < 25 {
		t.Errorf("only %d kinds of values", len(values))
	}
	for name, binary := range binaries() {
		t.Run(name, func(t *testing.T) {
			c := sandboxtest.Server(t, sandbox.Options{Binary: binary}).Client()
			s, err := Look(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for k, value := range values {
				payload := rdbparse.AppendPayload(nil, k.typ, value, rdbparse.LowestVersion(k.typ))
				err := c.RestoreReplace(t.Context(), "k", 0, string(payload)).Err()
				if got := s.Version.Takes(k.vendor, k.typ); got != (err == nil) {
					t.Errorf("Takes(%s, %d) = %t, but %s says %v", k.vendor, k.typ, got, s.Version, err)
				}
			}
		})
	}
}

// binaries are the system's server and those of the folder SLOTFERRY_SERVERS.
func binaries() map[string]string {
	found := map[string]string{"the system's": ""}
	if dir := os.Getenv("SLOTFERRY_SERVERS"); dir != "" {
		paths, _ := filepath.Glob(filepath.Join(dir, "*", "bin", "redis-server")) // the pattern is sound
		for _, path := range paths {
			found[filepath.Base(filepath.Dir(filepath.Dir(path)))] = path
		}
	}
	return found
}
