package choice

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/route"
)

// Shard is one of Of even parts of the slots, counted from 0. The zero value is
// all of them.
type Shard struct{ Index, Of int }

// ParseShard reads "1/4", the second of four. "" is the zero value.
func ParseShard(text string) (Shard, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Shard{}, nil
	}
	const remedy = "write 0/4 for the first of four parts, 3/4 for the last"
	before, after, _ := strings.Cut(text, "/")
	index, err1 := strconv.ParseUint(before, 10, 16)
	of, err2 := strconv.ParseUint(after, 10, 16)
	switch {
	case err1 != nil || err2 != nil:
		return Shard{}, fmt.Errorf("%q is no part of the slots; %s", text, remedy)
	case of == 0 || of > route.Slots:
		return Shard{}, fmt.Errorf("%q: there are 1 to %d parts; %s", text, route.Slots, remedy)
	case index >= of:
		return Shard{}, fmt.Errorf("%q: parts are counted from 0, so that the last one is %d/%d", text, of-1, of)
	}
	return Shard{int(index), int(of)}, nil
}

// String names the shard as a part of a file's name, "" for all slots.
func (s Shard) String() string {
	if s.Of == 0 {
		return ""
	}
	return fmt.Sprintf("shard-%d-of-%d", s.Index, s.Of)
}

// Slots returns the shard of the slots chosen, both in the form of
// Options.Slots. All shards together are the slots chosen, no two share one, and
// none has over one more than another.
func (s Shard) Slots(chosen string) (string, error) {
	if s.Of == 0 {
		return chosen, nil
	}
	set, err := parseSlots(chosen)
	if err != nil {
		return "", err
	}
	var all []int
	for slot := range route.Slots {
		if set == nil || set.has(uint16(slot)) {
			all = append(all, slot)
		}
	}
	if len(all) < s.Of {
		return "", fmt.Errorf("%d parts of %d slots: some would have none; make fewer parts", s.Of, len(all))
	}
	var mine slotSet
	for _, slot := range all[s.Index*len(all)/s.Of : (s.Index+1)*len(all)/s.Of] {
		mine.add(slot)
	}
	var ranges []string
	for _, r := range mine.ranges() {
		ranges = append(ranges, r.String())
	}
	return strings.Join(ranges, ","), nil
}
