package configs

import (
	"strings"

	"github.com/spf13/pflag"
)

// kind says how a setting is written.
type kind int

const (
	kindText   kind = iota
	kindBool        // true or false
	kindList        // each value one flag; a list in the file, one a line in the environment
	kindCommas      // like kindList, and split at commas
	kindPairs       // like kindList, each value "a=b"; or a map in the file
)

// Command says which command a flag belongs to.
type Command uint8

// The commands with settings.
const (
	ImportCommand Command = 1 << iota
	PlanCommand
	VerifyCommand
)

// setting is one thing that can be set. Its key in the file is its name with
// "_" for "-", its variable the same in capitals after "SLOTFERRY_".
type setting struct {
	name   string
	group  string
	kind   kind
	preset string
	values []string // the only ones allowed
	of     Command  // which commands take it; 0: every one
	usage  string   // with the value's name in back quotes; "" when there is no flag
}

const (
	groupFromTo     = "From and to"
	groupSecrets    = "Passwords (see also SLOTFERRY_SOURCE_PASSWORD, SLOTFERRY_TARGET_PASSWORD, …_USERNAME)"
	groupTLS        = "TLS (for rediss://)"
	groupChoice     = "Which keys, and under which name"
	groupPlan       = "The plan"
	groupVerify     = "The comparison"
	groupPolicy     = "What to do when"
	groupLive       = "The running source"
	groupAOF        = "The append-only file"
	groupLimits     = "Limits"
	groupCheckpoint = "Stop and resume"
	groupOutput     = "Output, network, configuration"
)

var groups = []string{groupFromTo, groupSecrets, groupTLS, groupChoice, groupPlan, groupVerify, groupPolicy, groupLive, groupAOF, groupLimits, groupCheckpoint, groupOutput}

var settings = []setting{
	{name: "source", group: groupFromTo, usage: "where keys come from: `SRC` is redis://[user[:password]@]host[:port][/db], rediss:// with TLS, unix:///path/of/socket[?db=N], an RDB file, an append-only file or its folder, or - for an RDB on standard input"},
	{name: "target", group: groupFromTo, usage: "the cluster: `TGT` is redis://[user[:password]@]host:port[,host:port…], or rediss:// with TLS; any nodes of it, the others are found"},
	{name: "via", group: groupFromTo, values: []string{"scan", "sync"}, usage: "how a live source is read: `HOW` is scan (the default), or sync, as its replica, which goes on with what is written meanwhile and afterwards"},

	{name: "source-username", group: groupSecrets},
	{name: "source-password", group: groupSecrets},
	{name: "source-password-file", group: groupSecrets, usage: "read the source's password from `FILE`"},
	{name: "source-askpass", group: groupSecrets, kind: kindBool, usage: "ask for the source's password on the terminal"},
	{name: "target-username", group: groupSecrets},
	{name: "target-password", group: groupSecrets},
	{name: "target-password-file", group: groupSecrets, usage: "read the target's password from `FILE`"},
	{name: "target-askpass", group: groupSecrets, kind: kindBool, usage: "ask for the target's password on the terminal"},

	{name: "source-tls-ca", group: groupTLS, usage: "trust the certificate authorities in `FILE` (PEM) for the source, instead of the system's"},
	{name: "source-tls-cert", group: groupTLS, usage: "show the source the certificate in `FILE` (PEM)"},
	{name: "source-tls-key", group: groupTLS, usage: "the private key of --source-tls-cert, in `FILE` (PEM)"},
	{name: "source-tls-server-name", group: groupTLS, usage: "the `NAME` that the source's certificate must bear, if not the host's"},
	{name: "source-tls-insecure", group: groupTLS, kind: kindBool, usage: "take any certificate of the source: whoever is in between can read and change everything"},
	{name: "target-tls-ca", group: groupTLS, usage: "trust the certificate authorities in `FILE` (PEM) for the target, instead of the system's"},
	{name: "target-tls-cert", group: groupTLS, usage: "show the target the certificate in `FILE` (PEM)"},
	{name: "target-tls-key", group: groupTLS, usage: "the private key of --target-tls-cert, in `FILE` (PEM)"},
	{name: "target-tls-server-name", group: groupTLS, usage: "the `NAME` that the certificates of all target nodes must bear, if not each host's"},
	{name: "target-tls-insecure", group: groupTLS, kind: kindBool, usage: "take any certificate of the target: whoever is in between can read and change everything"},

	{name: "include", group: groupChoice, kind: kindList, usage: "only keys whose name fits `GLOB`, by Redis' own rules (* ? [a-z] [^a] \\x); repeat it for more"},
	{name: "exclude", group: groupChoice, kind: kindList, usage: "no keys whose name fits `GLOB`, whatever --include says; repeat it for more"},
	{name: "type", group: groupChoice, kind: kindCommas, usage: "only keys of `TYPE`: string, list, set, zset, hash, stream, or a module's type; separate several by commas"},
	{name: "db", group: groupChoice, kind: kindCommas, usage: "only database `N` of the source; separate several by commas"},
	{name: "slots", group: groupChoice, usage: "only keys whose slot in the target is in `SLOTS`, such as 0-5460,9000"},
	{name: "shard", group: groupChoice, usage: "only one of several even parts of the slots: `I/N` is 0/4 for the first of four, 3/4 for the last; each is a job of its own, such as on a machine of its own"},
	{name: "db-map", group: groupChoice, kind: kindPairs, usage: "`N=PREFIX`: put PREFIX in front of the keys of database N, as a cluster has one database; repeat it for more"},
	{name: "rename-prefix", group: groupChoice, kind: kindPairs, usage: "`OLD=NEW`: keys that begin with OLD begin with NEW in the target; the first rule that fits is used, before --db-map; repeat it for more"},

	{name: "masters", group: groupPlan, of: PlanCommand, preset: "3", usage: "without --target: a cluster of `N` masters, its slots split as redis-cli --cluster create does it"},
	{name: "separator", group: groupPlan, of: PlanCommand, usage: "what ends a prefix of keys' names: `TEXT` such as : (default: found out)"},
	{name: "format", group: groupPlan, of: PlanCommand | VerifyCommand, preset: "text", values: []string{"text", "json", "html"}, usage: "`HOW` to write the result: text, json, or for a plan html, one page for a browser"},
	{name: "out", group: groupPlan, of: PlanCommand, usage: "write the plan to `FILE` instead of standard output"},

	{name: "extra", group: groupVerify, of: VerifyCommand, kind: kindBool, usage: "look for keys of the target that the source does not have, too"},
	{name: "sample", group: groupVerify, of: VerifyCommand, preset: "1", usage: "compare only this `PART` of the keys, such as 0.01, picked evenly by their names"},
	{name: "seed", group: groupVerify, of: VerifyCommand, usage: "pick the same sample as the run that printed `N`"},
	{name: "repair", group: groupVerify, of: VerifyCommand, kind: kindBool, usage: "copy missing and differing keys again, and compare them again; with --extra, remove extra ones from the target"},
	{name: "rounds", group: groupVerify, of: ImportCommand | VerifyCommand, preset: "3", usage: "what differs from a live source is looked at again `N` times before it counts"},
	{name: "pause", group: groupVerify, of: ImportCommand | VerifyCommand, preset: "5s", usage: "`TIME` before each of these rounds"},
	{name: "verify", group: groupVerify, of: ImportCommand, kind: kindBool, usage: "compare both sides at the end"},
	{name: "dry-run", group: groupVerify, of: ImportCommand, kind: kindBool, usage: "write nothing: print the plan of this import instead"},

	{name: "on-exists", group: groupPolicy, preset: "fail", values: []string{"fail", "replace", "skip"}, of: ImportCommand | PlanCommand, usage: "when the target holds keys already: `HOW` is fail (before the first write), replace, or skip"},
	{name: "on-unsupported", group: groupPolicy, preset: "fail", values: []string{"fail", "skip"}, of: ImportCommand | PlanCommand, usage: "when the target cannot take a value: `HOW` is fail, or skip and report"},
	{name: "functions", group: groupPolicy, preset: "replace", values: []string{"replace", "skip", "fail"}, of: ImportCommand | PlanCommand, usage: "function libraries of the source: `HOW` is replace those of the same name, skip, or fail"},
	{name: "fail-fast", group: groupPolicy, kind: kindBool, of: ImportCommand, usage: "stop at the first key that fails"},
	{name: "retry-for", group: groupPolicy, preset: "5m", usage: "how long to keep trying while the target does not answer or is full: `TIME` such as 30s or 5m, 0 for not at all"},

	{name: "follow", group: groupLive, of: ImportCommand, kind: kindBool, usage: "with --via scan: carry what is written meanwhile and afterwards, too, by keyspace notifications (--via sync does it anyway)"},
	{name: "once", group: groupLive, of: ImportCommand, kind: kindBool, usage: "end when what was written before the end of the copy is in"},
	{name: "cutover", group: groupLive, of: ImportCommand, kind: kindBool, usage: "when the target is close behind: pause the source's writers, wait until all is in, compare, and say that clients can be switched"},
	{name: "lag-threshold", group: groupLive, of: ImportCommand, preset: "1MiB", usage: "begin the cutover when less than `SIZE` of the source's stream is missing"},
	{name: "pause-timeout", group: groupLive, of: ImportCommand, preset: "30s", usage: "pause the source's writers for `TIME` at most; after that the source lets them go on by itself"},
	{name: "on-cutover", group: groupLive, of: ImportCommand, usage: "run `COMMAND` by the shell when clients can be switched, while the writers are paused; SLOTFERRY_CUTOVER_… variables tell it the facts"},
	{name: "on-flush", group: groupLive, of: ImportCommand, preset: "stop", values: []string{"stop", "apply"}, usage: "when someone empties a database of the source (FLUSHALL, FLUSHDB, SWAPDB): `HOW` is stop, or apply it to the target"},
	{name: "spool-dir", group: groupLive, usage: "where what does not fit into memory waits: `DIR` (default beside the checkpoint)"},
	{name: "spool-max", group: groupLive, preset: "4GiB", usage: "at most `SIZE` of it"},

	{name: "aof-via", group: groupAOF, preset: "auto", values: []string{"auto", "replay", "scratch"}, usage: "`HOW` an append-only file is read: replay its commands, scratch: have a redis-server load it and take its RDB, or auto: replay where that is exact"},
	{name: "scratch-server", group: groupAOF, usage: "the redis-server or valkey-server at `PATH` for that (default: found on PATH)"},
	{name: "until", group: groupAOF, usage: "read up to a point in `TIME`, such as 2026-03-01T13:30:00Z, if the file has time stamps (aof-timestamp-enabled)"},

	{name: "rate-keys", group: groupLimits, preset: "0", usage: "at most `N` keys a second; 0 is no limit"},
	{name: "rate-bytes", group: groupLimits, preset: "0", usage: "at most `SIZE` a second, such as 50MiB; 0 is no limit"},
	{name: "memory", group: groupLimits, preset: "256MiB", usage: "stay under `SIZE` of memory, at least 32MiB"},
	{name: "max-command", group: groupLimits, preset: "64MiB", usage: "rebuild serialized values longer than `SIZE` in parts, with native commands, at least 16KiB"},
	{name: "max-source-latency", group: groupLimits, preset: "0", usage: "ask a live source for less while it takes longer than `TIME`, such as 5ms, to answer others; 0 is never"},
	{name: "scan-count", group: groupLimits, preset: "1000", usage: "ask a live source for `N` keys at a time"},

	{name: "checkpoint", group: groupCheckpoint, of: ImportCommand | VerifyCommand, usage: "where progress is kept: `DIR` (default .slotferry/JOB), target for the cluster itself, or none"},
	{name: "job", group: groupCheckpoint, of: ImportCommand | VerifyCommand, usage: "`NAME` of this import (default made from source and target)"},
	{name: "wait-replicas", group: groupCheckpoint, of: ImportCommand, preset: "0", usage: "let the checkpoint hold only what `N` replicas of each master have, too; 0 does not wait for them"},
	{name: "restart", group: groupCheckpoint, kind: kindBool, of: ImportCommand | VerifyCommand, usage: "forget the checkpoint and begin again"},

	{name: "output", group: groupOutput, preset: "auto", values: []string{"auto", "text", "json"}, usage: "`HOW` to report: text, json (one object a line), or auto: live progress on a terminal, else text"},
	{name: "address-map", group: groupOutput, kind: kindPairs, usage: "`INTERNAL=EXTERNAL`: dial EXTERNAL where the cluster announces INTERNAL; each is host or host:port; repeat it for more"},
	{name: "config", group: groupOutput, usage: "read settings from `FILE` (YAML); flags and SLOTFERRY_… variables go before it"},
}

// Flags registers the flags of a command.
func Flags(fs *pflag.FlagSet, c Command) {
	fs.SortFlags = false
	for _, s := range settings {
		switch {
		case s.usage == "", s.of != 0 && s.of&c == 0:
		case s.kind == kindText:
			fs.String(s.name, s.preset, s.usage)
		case s.kind == kindBool:
			fs.Bool(s.name, false, s.usage)
		default:
			fs.StringArray(s.name, nil, s.usage)
		}
	}
}

// Usage is the help text for the flags that Flags registered, in groups, lines
// broken at the given width (0: not at all). Flags of others come last.
func Usage(fs *pflag.FlagSet, width int) string {
	group := map[string]string{}
	for _, s := range settings {
		group[s.name] = s.group
	}
	const others = "Others"
	parts := map[string]*pflag.FlagSet{}
	fs.VisitAll(func(f *pflag.Flag) {
		g, ok := group[f.Name]
		if !ok {
			g = others
		}
		if parts[g] == nil {
			parts[g] = pflag.NewFlagSet(g, pflag.ContinueOnError)
			parts[g].SortFlags = false
		}
		parts[g].AddFlag(f)
	})
	var out strings.Builder
	for _, g := range append(groups[:len(groups):len(groups)], others) {
		if part := parts[g]; part != nil {
			out.WriteString(g + ":\n" + part.FlagUsagesWrapped(width) + "\n")
		}
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// variable is the setting's name in the environment, key that in the file.
func variable(name string) string {
	return "SLOTFERRY_" + strings.ToUpper(key(name))
}

func key(name string) string { return strings.ReplaceAll(name, "-", "_") }

func settingByKey(k string) (setting, bool) {
	for _, s := range settings {
		if key(s.name) == k {
			return s, true
		}
	}
	return setting{}, false
}
