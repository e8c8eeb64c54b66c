package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// block is a map in a YAML file whose keys are known. It notes what is wrong in
// the file's decoder, and returns zeros for it.
type block struct {
	d     *decoder
	path  string // in front of its keys: "http."
	line  int
	nodes map[string]*yaml.Node
}

// newBlock reads the keys of a map. nil counts as an empty one.
func newBlock(d *decoder, path string, n *yaml.Node, known ...string) *block {
	b := &block{d: d, path: path, nodes: map[string]*yaml.Node{}}
	if n == nil {
		return b
	}
	b.line = n.Line
	if n.Kind != yaml.MappingNode {
		d.wrong(strings.TrimSuffix(path, "."), "line %d: it takes settings of its own: %s", n.Line, strings.Join(known, ", "))
		return b
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		_, twice := b.nodes[name.Value]
		switch {
		case name.Kind != yaml.ScalarNode:
			d.wrong(strings.TrimSuffix(path, "."), "line %d: a key is no plain word", name.Line)
		case !slices.Contains(known, name.Value):
			d.unknownOf(path, name, known)
		case twice:
			d.wrong(path+name.Value, "line %d: it is there twice; keep one", name.Line)
		default:
			b.nodes[name.Value] = value
		}
	}
	return b
}

// unknownOf tells of a key that is not among those known at its place.
func (d *decoder) unknownOf(path string, name *yaml.Node, known []string) {
	advice := "known here: " + strings.Join(known, ", ")
	if near := nearest(key(name.Value), known); near != "" {
		advice = fmt.Sprintf("is it %s?", near)
	}
	// It may be a secret that was meant to be a value.
	shown := name.Value
	if len(shown) > 40 {
		shown = shown[:40] + "…"
	}
	d.wrong(path+shown, "line %d: there is no such key; %s", name.Line, advice)
}

func (b *block) has(name string) bool { return b.nodes[name] != nil }

func (b *block) wrong(name, format string, args ...any) {
	line := b.line
	if n := b.nodes[name]; n != nil {
		line = n.Line
	}
	b.d.wrong(b.path+name, "line %d: %s", line, fmt.Sprintf(format, args...))
}

// text returns a value, or what stands for it if there is none.
func (b *block) text(name, preset string) string {
	n := b.nodes[name]
	if n == nil {
		return preset
	}
	text, ok := b.d.scalar(b.path+name, n)
	if !ok {
		return preset
	}
	return strings.TrimSpace(text)
}

func (b *block) boolean(name string, preset bool) bool {
	text := b.text(name, strconv.FormatBool(preset))
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	b.wrong(name, "%q is neither true nor false", text)
	return preset
}

// duration returns a time of at least least; days are known, too.
func (b *block) duration(name, preset string, least time.Duration) time.Duration {
	text := b.text(name, preset)
	d, err := parseDays(text)
	switch {
	case err != nil:
		b.wrong(name, "%q is no time; write it with a unit, such as 30s, 5m, 1h30m or 90d", text)
	case d < least:
		b.wrong(name, "%q is too short; it takes at least %s", text, least)
	default:
		return d
	}
	return 0
}

// parseDays is time.ParseDuration that knows whole days, alone.
func parseDays(text string) (time.Duration, error) {
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	const most = 100 * 366
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > most {
		return 0, fmt.Errorf("%q is no number of days", days)
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

func (b *block) count(name string, preset, most int) int {
	text := b.text(name, strconv.Itoa(preset))
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		b.wrong(name, "%q is not possible; write a number from 0 to %d", text, most)
		return preset
	}
	return n
}

// words returns the values of a list, each one of those known.
func (b *block) words(name string, preset []string, known ...string) []string {
	n := b.nodes[name]
	if n == nil {
		return preset
	}
	out := b.d.list(b.path+name, n)
	for _, w := range out {
		if !slices.Contains(known, w) {
			b.wrong(name, "%q is not known; choose %s", w, orList(known))
		}
	}
	return out
}
