package configs

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// rank says how much a value weighs: a higher one beats a lower one.
type rank int

const (
	byDefault rank = iota
	byFile
	byVariable
	byFlag
)

// origin is where a value came from, in the words of an error.
type origin struct {
	rank  rank
	where string
}

// values holds every setting's value that counts, merged in a viper, and
// collects what is wrong with them.
type values struct {
	viper    *viper.Viper
	env      Environment
	file     string // of --config
	unread   bool   // nothing of the file could be read
	origins  map[string]origin
	errs     []error
	warnings []string
}

func newValues(fs *pflag.FlagSet, env Environment) *values {
	if env.Lookup == nil {
		env.Lookup = os.LookupEnv
	}
	if env.Prompt == nil {
		env.Prompt = askTerminal
	}
	v := &values{viper: viper.New(), env: env, origins: map[string]origin{}}
	if v.file = v.configFile(fs); v.file != "" {
		var problems []problem
		v.viper, problems = readFile(v.file)
		for _, p := range problems {
			v.wrongAt(v.inFile(p.key), "%s", p.message)
			v.unread = v.unread || p.key == ""
		}
	}
	for _, s := range settings {
		v.merge(fs, s)
	}
	return v
}

func (v *values) configFile(fs *pflag.FlagSet) string {
	if f := fs.Lookup("config"); f != nil && f.Changed {
		if f.Value.String() == "" {
			v.wrongAt("--config", "it is empty; name a YAML file")
		}
		return f.Value.String()
	}
	path, _ := v.env.Lookup(variable("config"))
	return path
}

// inFile is the origin of a key in the file, or of the file as a whole.
func (v *values) inFile(key string) string {
	if key == "" {
		return v.file
	}
	return key + " in " + v.file
}

// merge sets the value of a flag or variable over the file's.
func (v *values) merge(fs *pflag.FlagSet, s setting) {
	k := key(s.name)
	v.origins[s.name] = origin{byDefault, "--" + s.name}
	if v.viper.InConfig(k) {
		v.origins[s.name] = origin{byFile, v.inFile(k)}
	}
	if text, ok := v.env.Lookup(variable(s.name)); ok && text != "" {
		v.origins[s.name] = origin{byVariable, variable(s.name)}
		if s.kind == kindText || s.kind == kindBool {
			v.viper.Set(k, text)
		} else {
			v.set(s, strings.Split(strings.TrimRight(text, "\r\n"), "\n"))
		}
	}
	if f := fs.Lookup(s.name); f != nil && f.Changed {
		v.origins[s.name] = origin{byFlag, "--" + s.name}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			v.set(s, many.GetSlice())
		} else {
			v.viper.Set(k, f.Value.String())
		}
	}
	v.viper.SetDefault(k, s.preset)
}

// set sets the values of a list.
func (v *values) set(s setting, list []string) {
	if s.kind != kindPairs {
		v.viper.Set(key(s.name), list)
		return
	}
	pairs := []pair{}
	for _, text := range list {
		p, ok := splitPair(text)
		if !ok {
			v.wrong(s.name, "%q has no \"=\"; write a=b", text)
			continue
		}
		pairs = append(pairs, p)
	}
	v.viper.Set(key(s.name), pairs)
}

// wrong notes what is wrong with a setting.
func (v *values) wrong(name, format string, args ...any) {
	v.wrongAt(v.origins[name].where, format, args...)
}

func (v *values) wrongAt(where, format string, args ...any) {
	e := UsageError{Where: Masked(where), Message: Masked(fmt.Sprintf(format, args...))}
	// A setting may be looked at more than once.
	if !slices.ContainsFunc(v.errs, func(old error) bool { return *old.(*UsageError) == e }) {
		v.errs = append(v.errs, &e)
	}
}

func (v *values) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

// given tells whether a setting was set at all.
func (v *values) given(name string) bool { return v.origins[name].rank > byDefault }

func (v *values) text(name string) string { return v.viper.GetString(key(name)) }

// list returns the values of a list, split at commas where the setting is.
func (v *values) list(name string) []string {
	all, _ := v.viper.Get(key(name)).([]string)
	s, _ := settingByKey(key(name))
	if s.kind != kindCommas {
		return all
	}
	var out []string
	for _, text := range all {
		for part := range strings.SplitSeq(text, ",") {
			out = append(out, strings.TrimSpace(part))
		}
	}
	return out
}

func (v *values) pairs(name string) []pair {
	all, _ := v.viper.Get(key(name)).([]pair)
	return all
}

func (v *values) boolean(name string) bool {
	switch strings.ToLower(strings.TrimSpace(v.text(name))) {
	case "true", "yes", "on", "1":
		return true
	case "", "false", "no", "off", "0":
		return false
	}
	v.wrong(name, "%q is neither true nor false", v.text(name))
	return false
}

// oneOf returns a setting that has few possible values.
func (v *values) oneOf(name string) string {
	s, _ := settingByKey(key(name))
	text := strings.ToLower(strings.TrimSpace(v.text(name)))
	if !slices.Contains(s.values, text) {
		v.wrong(name, "%q is not known; choose %s", v.text(name), orList(s.values))
	}
	return text
}
