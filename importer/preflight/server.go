package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/rdbparse"
)

// Server is what INFO tells of one server.
type Server struct {
	Version   Version
	RunID     string
	Cluster   bool
	Role      string // master or slave
	Loading   bool
	MaxMemory int64 // bytes, 0 for none
	Used      int64 // bytes
	Dataset   int64 // bytes
	Policy    string
	Keys      map[int]int64 // by database
	Modules   []string
	Now       time.Time     // the server's clock
	Skew      time.Duration // its clock less this machine's
}

// KnowsType reports whether one of the loaded modules seems to own a module
// type: the names are alike, such as ReJSON and its type ReJSON-RL.
func (s Server) KnowsType(name string) bool {
	return slices.ContainsFunc(s.Modules, func(module string) bool {
		return strings.HasPrefix(strings.ToLower(name), strings.ToLower(module))
	})
}

// Version is a server's product and version.
type Version struct {
	Product             string // redis, valkey or redict
	Major, Minor, Patch int
}

func (v Version) String() string {
	return fmt.Sprintf("%s %d.%d.%d", v.Product, v.Major, v.Minor, v.Patch)
}

// AtLeast reports whether the version is major.minor or newer. Valkey counts
// as Redis 7.2, of which it is a fork.
func (v Version) AtLeast(major, minor int) bool {
	if v.Product == "valkey" {
		return major < 7 || (major == 7 && minor <= 2)
	}
	return v.Major > major || (v.Major == major && v.Minor >= minor)
}

// RDB returns the RDB version that such a server writes into a DUMP payload,
// and the highest that it takes.
func (v Version) RDB() int {
	switch {
	case v.Product == "valkey" && v.Major >= 9:
		return 80
	case v.Product == "valkey":
		return 11
	case v.AtLeast(8, 4):
		return 13
	case v.AtLeast(7, 4), v.AtLeast(7, 3):
		return 12
	case v.AtLeast(7, 2):
		return 11
	case v.AtLeast(7, 0):
		return 10
	}
	return 9
}

// RDB types whose numbers tell vendors apart (src/rdb.h of each).
const (
	moduleType   = 7
	hash2Valkey  = 22 // hash with field TTLs, Valkey 9.0
	hashTTL      = 24 // the same of Redis 7.4
	hashTTLSmall = 25
)

// Takes reports whether RESTORE of a value of RDB type typ, in the vendor's
// numbers, works on such a server once its footer bears the lowest version that
// knows the type (rdbparse.LowestVersion). Whether a module's value is taken
// depends on the modules loaded there, so that it counts as taken.
func (v Version) Takes(vendor rdbparse.Vendor, typ byte) bool {
	lowest := int(rdbparse.LowestVersion(typ))
	switch {
	case typ == moduleType:
		return true
	case lowest == 0:
		return false
	case vendor == rdbparse.Valkey && typ >= hash2Valkey:
		return typ == hash2Valkey && v.Product == "valkey" && v.RDB() >= lowest
	case typ == hash2Valkey: // of Redis' release candidates
		return false
	case typ > hash2Valkey && v.Product == "valkey":
		return false
	case typ == hashTTL || typ == hashTTLSmall:
		return v.Product != "redict" && v.RDB() >= lowest
	}
	return v.RDB() >= lowest
}

// FieldExpiry reports whether fields of hashes may expire on such a server
// (HPEXPIREAT).
func (v Version) FieldExpiry() bool {
	switch v.Product {
	case "valkey":
		return v.Major >= 9
	case "redict":
		return false
	}
	return v.AtLeast(7, 4)
}

// Rebuilds reports whether native commands of such a server make values of an
// RDB type.
func (v Version) Rebuilds(vendor rdbparse.Vendor, typ byte) bool {
	switch rdbparse.TypeName(vendor, typ) {
	case "", "module":
		return false
	case "hash":
		return typ < hash2Valkey || v.FieldExpiry()
	}
	return true
}

// Look asks a server what it is. It needs INFO and TIME only.
func Look(ctx context.Context, c *redis.Client) (Server, error) {
	pipe := c.Pipeline()
	answer := Ask(ctx, pipe)
	_, _ = pipe.Exec(ctx) // each command's own error counts
	return answer()
}

// Ask is Look among other commands: the function it returns reads the answers,
// once the pipeline is executed.
func Ask(ctx context.Context, pipe redis.Pipeliner) func() (Server, error) {
	info, now := pipe.Info(ctx), pipe.Time(ctx)
	asked := time.Now()
	return func() (Server, error) {
		if err := info.Err(); err != nil {
			return Server{}, err
		}
		s := parseInfo(info.Val())
		s.Now = now.Val()
		s.Skew = s.Now.Sub(asked.Add(time.Since(asked) / 2))
		return s, now.Err()
	}
}

func parseInfo(text string) Server {
	s := Server{Version: Version{Product: "redis"}, Keys: map[int]int64{}}
	version := ""
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			continue
		}
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "redis_version":
			if version == "" {
				version = value
			}
		case "valkey_version":
			s.Version.Product, version = "valkey", value
		case "redict_version":
			s.Version.Product, version = "redict", value
		case "run_id":
			s.RunID = value
		case "cluster_enabled":
			s.Cluster = n == 1
		case "role":
			s.Role = value
		case "loading":
			s.Loading = n == 1
		case "maxmemory":
			s.MaxMemory = n
		case "used_memory":
			s.Used = n
		case "used_memory_dataset":
			s.Dataset = n
		case "maxmemory_policy":
			s.Policy = value
		case "module":
			name, _, _ := strings.Cut(strings.TrimPrefix(value, "name="), ",")
			s.Modules = append(s.Modules, name)
		}
		if db, err := strconv.Atoi(strings.TrimPrefix(name, "db")); err == nil && strings.HasPrefix(name, "db") {
			keys, _, _ := strings.Cut(strings.TrimPrefix(value, "keys="), ",")
			s.Keys[db], _ = strconv.ParseInt(keys, 10, 64)
		}
	}
	parts := strings.SplitN(version+".0.0", ".", 4)
	s.Version.Major, _ = strconv.Atoi(parts[0])
	s.Version.Minor, _ = strconv.Atoi(parts[1])
	s.Version.Patch, _ = strconv.Atoi(parts[2])
	return s
}

// Probe is a command that changes nothing, to learn whether it is allowed.
type Probe struct {
	Command string // the name for the message
	Args    []any
}

// ProbeKey is the name that probes use. Nothing is ever stored under it.
const ProbeKey = "slotferry:probe"

// Denied runs the probes and returns the commands that the user may not run.
// onKey are those that are refused for the name of the key only, so that the
// user may have other keys. ACL DRYRUN would say the same, but asks for rights
// that a careful operator does not give.
func Denied(ctx context.Context, c *redis.Client, probes []Probe) (denied, onKey []string, err error) {
	pipe := c.Pipeline()
	answer := Try(ctx, pipe, probes)
	_, _ = pipe.Exec(ctx) // each command's own error counts
	return answer()
}

// Try is Denied among other commands: the function it returns reads the answers,
// once the pipeline is executed.
func Try(ctx context.Context, pipe redis.Pipeliner, probes []Probe) func() (denied, onKey []string, err error) {
	answers := make([]*redis.Cmd, len(probes))
	for i, p := range probes {
		answers[i] = pipe.Do(ctx, p.Args...)
	}
	return func() (denied, onKey []string, err error) { return refusals(probes, answers) }
}

func refusals(probes []Probe, answers []*redis.Cmd) (denied, onKey []string, err error) {
	for i, p := range probes {
		e := answers[i].Err()
		var reply redis.Error
		switch {
		case e == nil, errors.Is(e, redis.Nil):
		case !errors.As(e, &reply):
			return denied, onKey, e
		case !strings.HasPrefix(e.Error(), "NOPERM"):
		case strings.Contains(e.Error(), "access a key"), strings.Contains(e.Error(), "access one of the keys"):
			onKey = append(onKey, p.Command)
		default:
			denied = append(denied, p.Command)
		}
	}
	return denied, onKey, nil
}
