package choice

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/route"
)

// New checks the options. Its error joins everything that is wrong, each part
// an *OptionError.
func New(o Options) (*Choice, error) {
	c := &Choice{dbMap: maps.Clone(o.DBMap), sample: o.Sample, seed: o.Seed}
	var errs []error
	wrong := func(flag, format string, args ...any) {
		errs = append(errs, &OptionError{Flag: flag, Message: fmt.Sprintf(format, args...)})
	}
	c.include = patterns(o.Include, "include", wrong)
	c.exclude = patterns(o.Exclude, "exclude", wrong)
	for _, t := range o.Types {
		if t = strings.TrimSpace(t); t == "" {
			wrong("type", "a type is empty; choose from string, list, set, zset, hash, stream, or a module type's name")
		} else if lower := strings.ToLower(t); slices.Contains(plainTypes, lower) {
			c.types = append(c.types, lower)
		} else {
			c.types = append(c.types, t)
		}
	}
	c.types = sorted(c.types)
	for _, db := range o.DBs {
		if db < 0 {
			wrong("db", "database %d: databases are numbered from 0", db)
		}
	}
	c.dbs = sorted(o.DBs)
	for _, db := range sorted(slices.Collect(maps.Keys(o.DBMap))) {
		if db < 0 {
			wrong("db-map", "database %d: databases are numbered from 0", db)
		}
	}
	c.setRename(o.Rename, wrong)
	if !(o.Sample >= 0 && o.Sample <= 1) {
		wrong("sample", "%v is no part of the whole; write a number above 0, up to 1", o.Sample)
	} else if o.Sample == 1 {
		c.sample = 0
	}
	var err error
	if c.slots, err = parseSlots(o.Slots); err != nil {
		wrong("slots", "%v", err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// OptionError says what is wrong with one of the options.
type OptionError struct {
	Flag    string // the option's flag, without dashes: "include", "exclude", "type", "db", "slots", "db-map", "rename-prefix", "sample"
	Message string
}

func (e *OptionError) Error() string { return "--" + e.Flag + ": " + e.Message }

// plainTypes are the types of Redis itself, whose names do not mind case.
var plainTypes = []string{"string", "list", "set", "zset", "hash", "stream"}

func patterns(list []string, flag string, wrong func(string, string, ...any)) [][]byte {
	var out [][]byte
	for _, p := range sorted(list) {
		if p == "" {
			wrong(flag, "a pattern is empty; every key is \"*\"")
			continue
		}
		out = append(out, []byte(p))
	}
	return out
}

// setRename takes the rules in the order given. A rule that can never be
// reached is refused, so that the longest Old that fits is always the first.
func (c *Choice) setRename(rules []Rename, wrong func(string, string, ...any)) {
	const flag = "rename-prefix"
	for i, r := range rules {
		if r.Old == "" {
			wrong(flag, "%q: the old prefix is empty; to put text in front of every key of a database use --db-map", "="+r.New)
			continue
		}
		for _, earlier := range rules[:i] {
			switch {
			case earlier.Old == r.Old:
				wrong(flag, "%q is renamed twice", r.Old)
			case earlier.Old != "" && strings.HasPrefix(r.Old, earlier.Old):
				wrong(flag, "the rule for %q is never reached, because that for %q comes first; swap them", r.Old, earlier.Old)
			default:
				continue
			}
			break
		}
		c.rename = append(c.rename, rule{[]byte(r.Old), []byte(r.New)})
	}
}

// parseSlots reads "0-5460,9000". It returns nil for all slots.
func parseSlots(text string) (*slotSet, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var set slotSet
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := parseSlot(first, part)
		if err != nil {
			return nil, err
		}
		to, err := parseSlot(last, part)
		if err != nil {
			return nil, err
		}
		if from > to {
			return nil, fmt.Errorf("%q: the range is reversed; write %d-%d", part, to, from)
		}
		for s := from; s <= to; s++ {
			set.add(s)
		}
	}
	if len(set.ranges()) == 1 && set.ranges()[0] == (route.Range{Start: 0, End: route.Slots - 1}) {
		return nil, nil
	}
	return &set, nil
}

func parseSlot(text, part string) (int, error) {
	text = strings.TrimSpace(text)
	// ParseUint takes "+1" and "-1" for no number, unlike Atoi.
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err == nil && n < route.Slots:
		return int(n), nil
	case err == nil || errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q: slots are 0 to %d", part, route.Slots-1)
	default:
		return 0, fmt.Errorf("%q is no slot; write numbers and ranges such as 0-5460,9000", part)
	}
}

func (s *slotSet) ranges() []route.Range {
	var out []route.Range
	for slot := uint16(0); slot < route.Slots; slot++ {
		if !s.has(slot) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].End == slot-1 {
			out[n-1].End = slot
		} else {
			out = append(out, route.Range{Start: slot, End: slot})
		}
	}
	return out
}

// Identity is the choice as flags in one fixed order: two choices that let the
// same keys through under the same names by the same options give the same
// text, whatever order the options came in. It is "all keys" for no choice.
func (c *Choice) Identity() string {
	var words []string
	flag := func(name, value string) { words = append(words, "--"+name+" "+value) }
	for _, p := range c.include {
		flag("include", quote(string(p)))
	}
	for _, p := range c.exclude {
		flag("exclude", quote(string(p)))
	}
	for _, t := range c.types {
		flag("type", quote(t))
	}
	if len(c.dbs) > 0 {
		var numbers []string
		for _, db := range c.dbs {
			numbers = append(numbers, strconv.Itoa(db))
		}
		flag("db", strings.Join(numbers, ","))
	}
	if c.slots != nil {
		var ranges []string
		for _, r := range c.slots.ranges() {
			ranges = append(ranges, r.String())
		}
		flag("slots", strings.Join(ranges, ","))
	}
	for _, db := range slices.Sorted(maps.Keys(c.dbMap)) {
		flag("db-map", strconv.Itoa(db)+"="+quote(c.dbMap[db]))
	}
	// The order of rules does not matter: setRename leaves only one that fits
	// first.
	for _, r := range slices.SortedFunc(slices.Values(c.rename), func(a, b rule) int { return slices.Compare(a.old, b.old) }) {
		flag("rename-prefix", quote(string(r.old))+"="+quote(string(r.new)))
	}
	if c.sample != 0 {
		flag("sample", strconv.FormatFloat(c.sample, 'g', -1, 64))
		flag("seed", strconv.FormatUint(c.seed, 10))
	}
	if len(words) == 0 {
		return allKeys
	}
	return strings.Join(words, " ")
}

const allKeys = "all keys"

// quote leaves text that cannot be mistaken as it is.
func quote(s string) string {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b >= 0x7f || strings.IndexByte(`"'\=`, b) >= 0 {
			return strconv.Quote(s)
		}
	}
	return s
}

// sorted returns a sorted copy without doubles.
func sorted[T int | string](list []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
