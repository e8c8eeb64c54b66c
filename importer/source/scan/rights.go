package scan

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/slotferry/slotferry/importer/preflight"
)

// partProbes are the commands that reading a value in parts takes, by the type
// of the value ("" for every type), as they may be tried.
var partProbes = []struct {
	kind, command string
	words         []any // behind the key
}{
	{"", "TYPE", nil},
	{"", "WATCH", nil},
	{"string", "GETRANGE", []any{"0", "0"}},
	{"list", "LRANGE", []any{"0", "0"}},
	{"set", "SSCAN", []any{"0"}},
	{"zset", "ZSCAN", []any{"0"}},
	{"hash", "HSCAN", []any{"0"}},
	{"hash", "HPEXPIRETIME", []any{"FIELDS", "1", "f"}},
	{"stream", "XINFO STREAM", nil},
	{"stream", "XINFO GROUPS", nil},
	{"stream", "XINFO CONSUMERS", []any{"g"}},
	{"stream", "XRANGE", []any{"-", "-"}},
	{"stream", "XPENDING", []any{"g"}},
	{"stream", "TIME", nil},
	{"", "MULTI", nil},
	{"", "EXEC", nil},
	{sizes, "MEMORY USAGE", nil},
}

// sizes stands for no type, but for asking how long values are.
const sizes = "sizes"

// keyless are those that take no key.
var keyless = []string{"TIME", "MULTI", "EXEC"}

// partRights are the commands for values of a type, "" for all types and sizes.
func (s *Source) partRights(kind string) (commands []string) {
	for _, probe := range partProbes {
		if kind != "" && probe.kind != kind && (probe.kind != "" || kind == sizes) {
			continue
		}
		if probe.command == "HPEXPIRETIME" && !s.fieldsMayExpire() {
			continue // a server refuses the whole rule for it
		}
		commands = append(commands, probe.command)
	}
	return commands
}

// fieldsMayExpire reports whether the server knows expiries of hash fields.
func (s *Source) fieldsMayExpire() bool {
	v := s.version
	return v.Product == "redis" && v.AtLeast(7, 4) || v.Product == "valkey" && v.Major >= 9
}

// rule is what gives a user the right to some commands.
func (s *Source) rule(commands []string) string {
	var b strings.Builder
	b.WriteString("ACL SETUSER <user>")
	for _, c := range commands {
		b.WriteString(" +" + strings.ReplaceAll(strings.ToLower(c), " ", "|"))
	}
	return b.String()
}

var errProbed = errors.New("a connection that may be within MULTI")

// lacking tries which of the commands for a type the user may not run. It asks
// once a type.
func (s *Source) lacking(ctx context.Context, kind string) ([]string, error) {
	if missing, ok := s.lacks[kind]; ok {
		return missing, nil
	}
	var missing []string
	commands := s.partRights(kind)
	err := s.on(ctx, 0, func(p *pipe) error {
		b := &builder{pipe: p}
		for _, probe := range partProbes {
			if !slices.Contains(commands, probe.command) {
				continue
			}
			words := probe.words
			if !slices.Contains(keyless, probe.command) {
				words = append([]any{preflight.ProbeKey}, words...)
			}
			b.ask(probe.command, words...)
		}
		if err := b.send(); err != nil {
			return err
		}
		for _, command := range commands {
			h, err := b.r.Head()
			if err != nil {
				return b.wire(err)
			}
			if h.Kind != '-' {
				if err := b.rest(h, 0); err != nil {
					return err
				}
			} else if line := string(h.Line); strings.Contains(line, "NOPERM") && !keyDenied(line) { // EXEC puts words before it
				missing = append(missing, command)
			}
		}
		return errProbed
	})
	if !errors.Is(err, errProbed) {
		return nil, err
	}
	if s.lacks == nil {
		s.lacks = map[string][]string{}
	}
	s.lacks[kind] = missing
	return missing, nil
}
