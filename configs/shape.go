package configs

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/route"
)

// format returns how the result is written, among those that the command knows.
// Whoever asks for JSON by --output alone gets it.
func (v *values) format(name string, known ...string) string {
	if !v.given(name) && v.text("output") == "json" {
		return "json"
	}
	text := strings.ToLower(strings.TrimSpace(v.text(name)))
	if !slices.Contains(known, text) {
		v.wrong(name, "%q is not known; choose %s", v.text(name), orList(known))
	}
	return text
}

// masters returns the number of masters of an imagined cluster, 0 when there is
// a real one.
func (v *values) masters(target bool) int {
	if !target {
		return v.count("masters", route.Slots)
	}
	if v.given("masters") && v.origins["masters"].rank == v.origins["target"].rank {
		v.wrong("masters", "it imagines a cluster, but --target names a real one; leave one of them out")
	}
	return 0
}

// separator returns what ends a prefix, "" when it is to be found out.
func (v *values) separator() string {
	const most = 8
	text := v.text("separator")
	if len(text) > most {
		v.wrong("separator", "%q is longer than %d bytes", text, most)
	}
	return text
}

// sample sets which part of the keys is compared, and reports whether it is not
// all.
func (v *values) sample(o *choice.Options) bool {
	text := strings.TrimSpace(v.text("sample"))
	part, err := strconv.ParseFloat(text, 64)
	if err != nil || !(part > 0 && part <= 1) {
		v.wrong("sample", "%q is no part of the whole; write a number above 0, up to 1", text)
		return false
	}
	o.Sample, o.Seed = part, rand.Uint64()
	if !v.isSet("seed") {
		return part < 1
	}
	if o.Seed, err = strconv.ParseUint(strings.TrimSpace(v.text("seed")), 10, 64); err != nil {
		v.wrong("seed", "%q is no seed; write the number that an earlier run printed", v.text("seed"))
	}
	return part < 1
}
