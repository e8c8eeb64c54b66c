package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// version is one generation of servers and what is known of it. The facts were
// seen on the servers themselves, and say what the tool should be able to do.
type version struct {
	name, title string
	dump        uint16 // RDB version that DUMP writes
	reads       uint16 // highest RDB version that RESTORE takes, besides dump
	types       []byte // RDB types above 15 that it reads; those below all do
	functions   bool   // knows function libraries
	expireTime  bool   // PEXPIRETIME
	fieldTTL    bool   // HPEXPIREAT
	vectors     bool   // VADD
	producers   bool   // XADD … IDMP
	optional    bool   // the matrix is whole without it

	binary string
	exact  string // as the server says
}

// RDB types that not every server reads (src/rdb.h of Redis 8.6 and Valkey 9.1).
const (
	typeModule         = 7
	typeStream         = 15 // the highest that all of them read
	typeHashListpack   = 16
	typeZsetListpack   = 17
	typeQuicklist2     = 18
	typeStream2        = 19
	typeSetListpack    = 20
	typeStream3        = 21
	typeValkeyHash     = 22 // with field TTLs
	typeHashTTL        = 24
	typeHashListpackEx = 25
	typeStream4        = 26
)

var (
	types70 = []byte{typeHashListpack, typeZsetListpack, typeQuicklist2, typeStream2}
	types72 = append(slices.Clip(types70), typeSetListpack, typeStream3)
	types80 = append(slices.Clip(types72), typeHashTTL, typeHashListpackEx)
)

// versions are those of the matrix, in the order of its tables.
var versions = []version{
	{name: "redis-6.0", title: "Redis 6.0", dump: 9, reads: 9},
	{name: "redis-7.0", title: "Redis 7.0", dump: 10, reads: 10, types: types70, functions: true, expireTime: true},
	{name: "redict-7.3", title: "Redict 7.3", dump: 12, reads: 12, types: types72, functions: true, expireTime: true, optional: true},
	{name: "redis-8.0", title: "Redis 8.0", dump: 12, reads: 12, types: types80, functions: true, expireTime: true, fieldTTL: true, vectors: true},
	{name: "redis-8.6", title: "Redis 8.6", dump: 13, reads: 13, types: append(slices.Clip(types80), typeStream4), functions: true, expireTime: true, fieldTTL: true, vectors: true, producers: true},
	{name: "valkey-8.0", title: "Valkey 8.0", dump: 11, reads: 11, types: types72, functions: true, expireTime: true},
	{name: "valkey-8.1", title: "Valkey 8.1", dump: 11, reads: 11, types: types72, functions: true, expireTime: true},
	{name: "valkey-9.1", title: "Valkey 9.1", dump: 80, reads: 11, types: append(slices.Clip(types72), typeValkeyHash), functions: true, expireTime: true, fieldTTL: true},
}

// knows reports whether RESTORE reads an RDB type. How a vector set is encoded
// depends on the server that wrote it, and an older one doesn't read it.
func (v *version) knows(typ byte, rdb uint16) bool {
	if typ == typeModule {
		return v.vectors && v.takes(rdb)
	}
	return typ <= typeStream || slices.Contains(v.types, typ)
}

// takes reports whether RESTORE takes a payload whose footer says rdb.
func (v *version) takes(rdb uint16) bool { return rdb <= v.reads || rdb == v.dump }

// choose picks versions by name, all if none is given.
func choose(names []string) ([]*version, error) {
	var chosen []*version
	for i := range versions {
		if len(names) == 0 || slices.Contains(names, versions[i].name) {
			chosen = append(chosen, &versions[i])
		}
	}
	if len(names) > 0 && len(chosen) != len(names) {
		return nil, fmt.Errorf("of %v only %d versions are known: choose of %v", names, len(chosen), allNames())
	}
	return chosen, nil
}

func allNames() (names []string) {
	for _, v := range versions {
		names = append(names, v.name)
	}
	return names
}

// fetchScript is called from the top of the repository.
const fetchScript = "scripts/fetch-servers.sh"

// provide finds the servers below dir, after it had those fetched that are
// missing. An optional one that can't be had is left out.
func provide(ctx context.Context, dir string, wanted []*version) (there []*version, err error) {
	for _, v := range wanted {
		v.binary = filepath.Join(dir, v.name, "bin", "redis-server")
		if _, err := os.Stat(v.binary); errors.Is(err, fs.ErrNotExist) {
			say("fetching %s", v.title)
			fetch := exec.CommandContext(ctx, fetchScript, dir, v.name)
			fetch.Stdout, fetch.Stderr = os.Stderr, os.Stderr
			if err := fetch.Run(); err != nil && v.optional {
				say("going without %s: %v", v.title, err)
				continue
			} else if err != nil {
				return nil, fmt.Errorf("fetching %s: %w", v.title, err)
			}
		}
		if err := v.ask(ctx); err != nil {
			return nil, err
		}
		there = append(there, v)
	}
	return there, nil
}

// ask learns the exact version.
func (v *version) ask(ctx context.Context) error {
	exact, err := sandbox.BinaryVersion(ctx, v.binary)
	if err != nil {
		return fmt.Errorf("%s: %w", v.title, err)
	}
	v.exact = exact.Text
	return nil
}

// installed is the system's own server, with the facts of the version it is, or
// of the newest one that is not newer.
func installed(ctx context.Context) (*version, error) {
	s, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	v := versions[0]
	for _, other := range versions {
		var major, minor int
		if n, _ := fmt.Sscanf(other.name, strings.ToLower(s.Version.Name)+"-%d.%d", &major, &minor); n == 2 && s.Version.AtLeast(major, minor) {
			v = other
		}
	}
	v.name, v.title = "installed", "the installed "+s.Version.String()
	v.binary, v.exact = s.Binary, s.Version.Text
	return &v, nil
}
