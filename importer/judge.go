package importer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/rdbparse"
)

// judge says what the counted plan means: what stands in the way, what to know,
// and how long it will take.
func (j *Job) judge(p *report.Plan, c *counting, targetWell bool, found *preflight.Findings) {
	t := j.tracker.Load().Totals()
	p.Expired, p.Filtered = t.Expired, t.Filtered
	if j.source.Keys == nil { // what could not be known before is now
		j.source.Keys = map[int]int64{}
		for db, keys := range p.Databases {
			n, _ := strconv.Atoi(db)
			j.source.Keys[n] = keys
		}
	}
	j.checkDatabases(found)
	j.checkKeys(p, c, found)
	if j.opts.Target != nil && targetWell {
		j.checkTarget(found)
		j.checkTogether(found)
		j.checkTypes(c, found)
		j.checkShares(p, found)
	}
	checkSkew(p, found)
	j.estimate(p)
	j.checkLargest(p, found)
}

// checkKeys tells of keys that can't travel as they are.
func (j *Job) checkKeys(p *report.Plan, c *counting, found *preflight.Findings) {
	unsupported := found.Block
	if j.opts.SkipUnsupported {
		unsupported = found.Warn
	}
	if s := c.refused; s.n > 0 {
		unsupported("unreadable_keys", "see the reason; --on-unsupported skip leaves them out", "%s can't be carried: %s", s.text(), s.reason)
	}
	if c.named { // the use of memory, which is more than the serialized length
		unsupported = found.Warn
	}
	if s := c.long; s.n > 0 {
		unsupported("value_too_long", "raise proto-max-bulk-len on every node of the target (CONFIG SET), split the keys, or leave them out with --on-unsupported skip",
			"%s longer than the target takes a string or a module's value (proto-max-bulk-len %s)", s.text(), humanize.IBytes(uint64(c.maxBulk)))
	}
	if s := c.large; s.n > 0 {
		unsupported("value_too_large", "give the import more --memory, or import from the RDB file, whose values may have any size",
			"%s larger than an import from this source can hold with this --memory (%s)", s.text(), humanize.IBytes(uint64(c.maxValue)))
	}
	if s := c.parts; s.n > 0 {
		found.Warn("rebuilt_in_parts", "nothing needs to be done; it takes longer, and the user of the target needs the rights that docs/passwords-and-tls.md lists for it",
			"%s too long for one command (--max-command, proto-max-bulk-len) or for this --memory: rebuilt with native commands, in parts, under a temporary name", s.text())
	}
	switch {
	case p.Collisions > 0 && !found.Has("collision"):
		least := "at least "
		if p.CollisionsExact {
			least = ""
		}
		found.Block("collision", "choose other prefixes for --db-map or --rename-prefix",
			"%s%s would be written over by others of the same name", least, keys(p.Collisions))
	case !p.CollisionsExact && !found.Has("collisions_unknown"):
		found.Warn("collisions_unknown", "choose prefixes that few keys begin with, or give more --memory",
			"whether keys would get the same new name could not be told for all of them")
	}
}

// text is "3 keys, one of them "a" of db 0, are".
func (s some) text() string {
	if s.n == 1 {
		return fmt.Sprintf("key %q of db %d is", s.key, s.db)
	}
	return fmt.Sprintf("%s, one of them %q of db %d, are", keys(s.n), s.key, s.db)
}

func keys(n int64) string {
	if n == 1 {
		return "1 key"
	}
	return humanize.Comma(n) + " keys"
}

// checkTypes tells of values whose encoding the target does not know, even with
// an older label.
func (j *Job) checkTypes(c *counting, found *preflight.Findings) {
	vendor := j.vendor()
	version := j.target.Oldest().Version
	var lost, rebuilt []string
	for typ, s := range c.types {
		if s.n == 0 || version.Takes(vendor, byte(typ)) {
			continue
		}
		text := fmt.Sprintf("%s stored as %s (RDB type %d, such as %q of db %d)", keys(s.n),
			rdbparse.EncodingName(vendor, byte(typ)), typ, s.key, s.db)
		if version.Rebuilds(vendor, byte(typ)) {
			rebuilt = append(rebuilt, text)
		} else {
			lost = append(lost, text)
		}
	}
	if len(rebuilt) > 0 {
		found.Warn("rebuilt_values", "nothing needs to be done; it takes longer, and the user of the target needs the rights that docs/passwords-and-tls.md lists for it",
			"the target (%s) does not take these values as bytes, so they are rebuilt with native commands: %s", version, strings.Join(rebuilt, "; "))
	}
	if len(lost) > 0 {
		add := found.Block
		if j.opts.SkipUnsupported {
			add = found.Warn
		}
		add("unsupported_values", "upgrade the target, leave these keys out (--type, --exclude), or have them skipped and listed with --on-unsupported skip",
			"the target (%s) has nothing to make these values with: %s", version, strings.Join(lost, "; "))
	}
	if j.source.ModuleTypes != nil { // told from the survey already
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.modules)) {
		if !j.target.Oldest().KnowsType(name) {
			s := c.modules[name]
			found.Warn("module_values", "load the same module on every node of the target, or leave those keys out (--type)",
				"%s of module type %s, which the target may not know", keys(s.n), name)
		}
	}
}

// checkShares compares each master's free memory with its share.
func (j *Job) checkShares(p *report.Plan, found *preflight.Findings) {
	factor := 0.0 // memory by what was counted
	switch survey := j.source.Survey; {
	case p.Source.Measure == report.MeasureMemory:
		factor = 1
	case j.source.Memory > leastMemory && survey != nil && survey.Bytes > 0:
		factor = max(1, float64(j.source.Memory)/float64(survey.Bytes))
	}
	for i := range p.Masters {
		m := &p.Masters[i]
		at := slices.IndexFunc(j.target.Masters, func(o preflight.Master) bool { return o.Addr == m.Addr })
		m.Needs = int64(factor * float64(m.Bytes))
		if at < 0 || j.target.Masters[at].Server.MaxMemory == 0 {
			continue
		}
		s := j.target.Masters[at].Server
		m.Free = max(0, s.MaxMemory-s.Used)
		if factor == 0 || m.Needs <= m.Free*9/10 {
			continue
		}
		text := fmt.Sprintf("%s has %s free below maxmemory; its share of the keys takes about %s", m.Addr, humanize.IBytes(uint64(m.Free)), humanize.IBytes(uint64(m.Needs)))
		if m.Needs > m.Free {
			found.Block("memory", "raise maxmemory on that node, add masters, or move slots to others (redis-cli --cluster rebalance)", "%s", text)
		} else {
			found.Warn("memory", "leave some room: raise maxmemory on that node", "%s", text)
		}
	}
}

// leastMemory is what a server takes without any keys, several times: below it a
// source's use of memory says nothing of its data.
const leastMemory = 16 << 20

const (
	notableSkew = 1.25 // of the fullest master, by the mean
	notableSlot = 0.05 // of all bytes
)

// checkSkew warns of what will lie unevenly, and names what causes it.
func checkSkew(p *report.Plan, found *preflight.Findings) {
	if len(p.Slots) == 0 || p.Bytes == 0 {
		return
	}
	top := slices.MaxFunc(p.Slots, func(a, b report.Slot) int { return int(a.Bytes>>1 - b.Bytes>>1) })
	part := float64(top.Bytes) / float64(p.Bytes)
	if p.Keys >= 1000 && part >= notableSlot {
		cause := ""
		for _, tag := range p.HashTags {
			if tag.Slot == top.Slot {
				cause = fmt.Sprintf("; hash tag {%s} puts %s there", tag.Tag[:min(len(tag.Tag), 64)], keys(tag.Keys))
				break
			}
		}
		found.Warn("hot_slot", "a slot can't be split among masters: spread its keys over other hash tags, or give its master fewer slots",
			"slot %d holds %.0f %% of all bytes (%s)%s", top.Slot, 100*part, keys(top.Keys), cause)
	}
	if p.Skew.Bytes >= notableSkew && len(p.Masters) > 1 && p.Keys >= 1000 {
		found.Warn("skew", "move slots to other masters before the import (redis-cli --cluster reshard); the report shows which slots are heavy",
			"the fullest master gets %.2f times the mean by bytes, %.2f by keys", p.Skew.Bytes, p.Skew.Keys)
	}
}

// What an import was seen to take on a 2-core machine that also ran all servers
// (bench/RESULTS.md): nanoseconds a key and a byte.
const (
	fileKey, fileByte = 1000.0, 5.8
	liveKey, liveByte = 2300.0, 13.9

	// packed is how large serialized values are by the memory that they take, of
	// the same data.
	packed = 0.4
)

// rebuilt are the types whose values travel in parts where they are too long.
var rebuilt = map[string]bool{"list": true, "set": true, "zset": true, "hash": true, "stream": true}

// estimate says how long the import will take.
func (j *Job) estimate(p *report.Plan) {
	perKey, perByte := fileKey, fileByte
	if j.source.Server != nil {
		perKey, perByte = liveKey, liveByte
	}
	bytes := float64(p.Bytes)
	if bytes == 0 { // not counted
		bytes = float64(p.Source.Memory) * packed
	} else if p.Source.Measure == report.MeasureMemory {
		bytes *= packed
	}
	seconds := (float64(p.Keys)*perKey + bytes*perByte) / 1e9
	basis := "speeds seen on a 2-core machine that also ran the source and the masters"
	if p.Source.Seconds > seconds {
		seconds, basis = p.Source.Seconds, "the time that reading the source took for this plan"
	}
	if r := j.opts.RateKeys; r > 0 && float64(p.Keys)/r > seconds {
		seconds, basis = float64(p.Keys)/r, "--rate-keys"
	}
	if r := j.opts.RateBytes; r > 0 && float64(p.Bytes)/float64(r) > seconds {
		seconds, basis = float64(p.Bytes)/float64(r), "--rate-bytes"
	}
	p.Estimate = report.Estimate{Seconds: seconds, Basis: basis}
	for i := range p.BigKeys {
		k := &p.BigKeys[i]
		k.Seconds = float64(k.Bytes) * perByte / 1e9
		k.Fits = k.Bytes <= p.Target.MaxBulk || rebuilt[k.Type]
		k.InTime = k.Seconds <= j.opts.RetryFor.Seconds()
	}
}

// checkLargest warns of values that take longer than a node may be silent.
func (j *Job) checkLargest(p *report.Plan, found *preflight.Findings) {
	slow := slices.DeleteFunc(slices.Clone(p.BigKeys), func(k report.BigKey) bool { return k.InTime })
	if len(slow) > 0 {
		found.Warn("slow_keys", "give them more time with --retry-for",
			"%s take longer than --retry-for (%s), the largest, %q of db %d, about %.0f s", keys(int64(len(slow))), j.opts.RetryFor, slow[0].Key[:min(len(slow[0].Key), 128)], slow[0].DB, slow[0].Seconds)
	}
}
