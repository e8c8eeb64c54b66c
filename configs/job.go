package configs

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/choice"
)

const (
	maxJobBytes  = 120
	maxSideBytes = 48 // of a made job name, for source and target each
)

// job returns the name given, or one made from source and target: readable, and
// with a hash of both so that no two pairs share it. Shard and suffix go behind
// both, so that no two shards and no two commands share one either.
func (v *values) job(s Source, t Target, suffix string) string {
	if shard, _ := choice.ParseShard(v.text("shard")); shard.Of > 0 {
		suffix = "-" + shard.String() + suffix
	}
	if !v.isSet("job") {
		return madeJob(s, t) + suffix
	}
	name := v.text("job")
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return !jobLetter(r) }):
		v.wrong("job", "%q has letters that a file name should not have; use A-Z, a-z, 0-9, dot, dash and underscore", name)
	case strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") || strings.Contains(name, ".."):
		v.wrong("job", "%q may not begin with a dot or dash, nor hold two dots in a row", name)
	case len(name) > maxJobBytes:
		v.wrong("job", "it has more than %d letters", maxJobBytes)
	}
	return name + suffix
}

func jobLetter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

// madeJob is the same whatever order the target's nodes are named in.
func madeJob(s Source, t Target) string {
	var from string
	switch {
	case s.Kind == KindStdin:
		from = "stdin"
	case s.Kind == KindRDB:
		from = filepath.Base(s.Path)
	case s.Endpoint.Network == "unix":
		from = filepath.Base(s.Endpoint.Addr)
	default:
		from = s.Endpoint.Addr
	}
	if s.DB >= 0 {
		from += "-db" + strconv.Itoa(s.DB)
	}
	seeds := slices.Sorted(slices.Values(t.Seeds))
	first := ""
	if len(seeds) > 0 {
		first = seeds[0]
	}
	scheme, _, _ := strings.Cut(t.Text, "://")
	sum := sha256.Sum256([]byte(s.Text + "\n" + scheme + "://" + strings.Join(seeds, ",")))
	return fileName(from) + "-to-" + fileName(first) + "-" + hex.EncodeToString(sum[:4])
}

// fileName replaces what a file name should not have.
func fileName(text string) string {
	name := strings.Map(func(r rune) rune {
		if jobLetter(r) {
			return r
		}
		return '-'
	}, text)
	for strings.Contains(name, "--") || strings.Contains(name, "..") {
		name = strings.NewReplacer("--", "-", "..", ".").Replace(name)
	}
	name = strings.Trim(name[:min(len(name), maxSideBytes)], "-.")
	if name == "" {
		return "x"
	}
	return name
}

// checkpoint returns the folder, or "target" or "none".
func (v *values) checkpoint(job string) string {
	where := v.text("checkpoint")
	if where == "" {
		return filepath.Join(".slotferry", job)
	}
	if where == "target" || where == "none" {
		return where
	}
	if info, err := os.Stat(where); err == nil && !info.IsDir() {
		v.wrong("checkpoint", "%q is a file; name a folder, or target, or none", where)
	}
	return where
}
