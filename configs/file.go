package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFileBytes is the largest configuration file that is read.
const maxFileBytes = 1 << 20

// pair is one entry of a setting that maps.
type pair struct{ from, to string }

// problem is something wrong in a file.
type problem struct {
	key     string // "" for the file as a whole
	message string
}

// readFile returns a viper with a file's settings.
func readFile(path string) (*viper.Viper, []problem) {
	content, err := readLimited(path, maxFileBytes)
	if err != nil {
		return viper.New(), []problem{{"", fmt.Sprintf("%v; name a YAML file", err)}}
	}
	return readYAML(content)
}

// readYAML returns a viper with the settings in content, as far as they are
// good.
func readYAML(content []byte) (*viper.Viper, []problem) {
	d := &decoder{}
	v := viper.NewWithOptions(viper.WithDecoderRegistry(d))
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(content)); err != nil {
		d.wrong("", "it cannot be read as YAML")
	}
	return v, d.problems
}

// readLimited reads a small file. Its errors name the path.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return content, nil
}

// decoder reads YAML for viper. Unlike viper's own it keeps what is written: a
// value such as 007 stays that text, keys of maps keep their case and order, and
// unknown keys are found. Values come out as string, []string or []pair.
type decoder struct{ problems []problem }

// Decoder makes it viper's choice for every format.
func (d *decoder) Decoder(string) (viper.Decoder, error) { return d, nil }

func (d *decoder) wrong(key, format string, args ...any) {
	d.problems = append(d.problems, problem{key, fmt.Sprintf(format, args...)})
}

// Decode fills m with the good settings. It returns no error: viper would drop
// those as well.
func (d *decoder) Decode(content []byte, m map[string]any) error {
	var document yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(content))
	if err := documents.Decode(&document); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		d.wrong("", "%s", syntaxError(err))
		return nil
	}
	if err := documents.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.wrong("", "it holds more than one document; keep one and remove the line \"---\" between them")
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		d.wrong("", "it is no list of settings; write a line \"key: value\" for each")
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		d.setting(root.Content[i], root.Content[i+1], m)
	}
	return nil
}

// syntaxError is the parser's error without the words it takes from the file.
func syntaxError(err error) string {
	if strings.Contains(err.Error(), "anchor") {
		return "a value begins with * or &, which is special in YAML; put it in single quotes"
	}
	return "it is not valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
}

func (d *decoder) setting(name, value *yaml.Node, m map[string]any) {
	k := name.Value
	s, known := settingByKey(k)
	switch _, twice := m[k]; {
	case name.Kind != yaml.ScalarNode:
		d.wrong("", "line %d: a key is no plain word", name.Line)
	case !known || k == "config":
		d.unknown(k, name.Line)
	case twice:
		d.wrong(k, "line %d: it is there twice; keep one", name.Line)
	case s.kind == kindPairs:
		d.keep(m, k, d.pairs(k, value))
	case s.kind == kindList || s.kind == kindCommas:
		d.keep(m, k, d.list(k, value))
	default:
		if text, ok := d.scalar(k, value); ok {
			m[k] = text
		}
	}
}

// keep stores a list, if there is one.
func (d *decoder) keep(m map[string]any, k string, list any) {
	switch l := list.(type) {
	case []string:
		if l != nil {
			m[k] = l
		}
	case []pair:
		if l != nil {
			m[k] = l
		}
	}
}

func (d *decoder) unknown(k string, line int) {
	var keys []string
	for _, s := range settings {
		if s.name != "config" {
			keys = append(keys, key(s.name))
		}
	}
	advice := "configs/example.yaml lists all keys"
	if near := nearest(key(k), keys); near != "" {
		advice = fmt.Sprintf("is it %s?", near)
	}
	// The key may be a secret that was meant to be a value.
	shown := k
	if len(shown) > 40 {
		shown = shown[:40] + "…"
	}
	d.wrong(shown, "line %d: there is no such key; %s", line, advice)
}

// scalar returns a value as it is written.
func (d *decoder) scalar(k string, n *yaml.Node) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode && n.Kind != yaml.AliasNode:
		d.wrong(k, "line %d: it takes one value, not several", n.Line)
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0:
		d.wrong(k, "line %d: a value that begins with *, & or ! must stand in single quotes", n.Line)
	case n.Tag == "!!null":
		d.wrong(k, "line %d: it has no value (a # begins a comment); write one, in quotes if need be, or remove the line", n.Line)
	default:
		return n.Value, true
	}
	return "", false
}

// list returns the values of a list; a single value is a list of one.
func (d *decoder) list(k string, n *yaml.Node) []string {
	values := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		values = n.Content
	}
	var out []string
	for _, v := range values {
		if text, ok := d.scalar(k, v); ok {
			out = append(out, text)
		}
	}
	return out
}

// pairs returns the entries of a map, in their order, or of a list of "a=b".
func (d *decoder) pairs(k string, n *yaml.Node) []pair {
	if n.Kind != yaml.MappingNode {
		var out []pair
		for _, text := range d.list(k, n) {
			p, ok := splitPair(text)
			if !ok {
				d.wrong(k, "line %d: an entry has no \"=\"; write a=b, or a map", n.Line)
				continue
			}
			out = append(out, p)
		}
		return out
	}
	var out []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		from, okFrom := d.scalar(k, n.Content[i])
		to, okTo := d.scalar(k, n.Content[i+1])
		if okFrom && okTo {
			out = append(out, pair{from, to})
		}
	}
	return out
}

func splitPair(text string) (pair, bool) {
	from, to, ok := strings.Cut(text, "=")
	return pair{from, to}, ok
}
