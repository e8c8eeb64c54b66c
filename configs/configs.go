// Package configs turns flags, environment and a YAML file into plain checked
// structs, and collects the secrets that belong to them. It is the only package
// that knows viper. It opens files of secrets and certificates, asks on the
// terminal when told to, and never connects to anything. No error or warning
// of it contains a password.
package configs

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
)

// Common is what every command on a source needs to know.
type Common struct {
	Source Source
	Target Target
	Choice choice.Options // checked: choice.New takes it

	RetryFor   time.Duration // 0: no second try
	RateKeys   float64       // keys a second; 0: no limit
	RateBytes  int64         // bytes a second; 0: no limit
	Memory     int64         // bytes
	MaxCommand int64         // bytes of a serialized value; longer ones are rebuilt in parts
	ScanCount  int           // keys asked for by one SCAN
	// MaxLatency is how long a live source may take to answer others before it is
	// asked for less; 0: whatever it takes.
	MaxLatency time.Duration
	Spool      Spool
	AOF        AOF

	Output     string            // "auto", "text" or "json"
	AddressMap map[string]string // announced host or host:port → the same as dialled; IPv6 hosts alone without brackets

	Warnings []string // what the operator should know; without secrets
}

// Policy says what an import does when.
type Policy struct {
	OnExists      string // "fail", "replace" or "skip"
	OnUnsupported string // "fail" or "skip"
	Functions     string // "replace", "skip" or "fail"
	FailFast      bool
}

// Resume says how a command goes on where it stopped.
type Resume struct {
	Checkpoint string // a folder, "target" or "none"
	Job        string // its name, safe as a file name
	Restart    bool
}

// Import is all that one import needs to know.
type Import struct {
	Common
	Policy
	Resume
	Live
	DryRun bool   // a plan instead
	Verify Rounds // at the end, when Rounds.Count is not 0
	// WaitReplicas is how many replicas of each master must have what a checkpoint
	// says was written; 0 for none.
	WaitReplicas int
}

// Plan is all that a plan needs to know.
type Plan struct {
	Common
	Policy
	Masters   int    // of a cluster that does not exist yet; 0: Target is set
	Separator string // what ends a prefix; "": guessed
	Format    string // "text", "json" or "html"
	Out       string // a file; "": standard output
}

// Verify is all that a verification needs to know.
type Verify struct {
	Common
	Resume
	Rounds
	Extra  bool   // look for keys that the source does not have
	Repair bool   // copy what differs again
	Limit  int64  // keys, after which it ends; 0: none
	Format string // "text" or "json"
}

// Rounds says how what differs from a live source is looked at again.
type Rounds struct {
	Count int
	Pause time.Duration // before each
}

// The kinds of sources.
const (
	KindRedis = "redis" // a live server
	KindRDB   = "rdb"   // a file
	KindAOF   = "aof"   // an append-only file, its manifest, or the folder of both
	KindStdin = "stdin" // an RDB on standard input
)

// Source is where keys come from.
type Source struct {
	Kind     string
	Path     string            // of the file or folder
	Endpoint endpoint.Endpoint // of the server
	DB       int               // database that the URL names; -1: none
	Via      string            // "scan" or "sync" for a server, else ""
	Text     string            // as the user wrote it, in one spelling and without credentials
}

// Target is where keys go: a cluster, known by some of its nodes.
type Target struct {
	Seeds    []string          // host:port, in the order given
	Endpoint endpoint.Endpoint // the way in; Addr is the first seed
	Text     string            // as the user wrote it, in one spelling and without credentials
}

// Environment is what Load takes from outside the flags; nil fields are the
// process's own.
type Environment struct {
	Lookup func(name string) (string, bool)      // os.LookupEnv
	Prompt func(question string) (string, error) // asks on the terminal, without echo
}

// minMemory is the least memory that an import works with, in bytes.
const minMemory = 32 << 20

// minCommand is the least length of values that are rebuilt in parts: in shorter
// ones there is nothing to gain.
const minCommand = 16 << 10

// LoadImport reads the configuration of an import: flags beat environment, which
// beats the file that --config names. fs are flags made by Flags, parsed. The
// error joins everything that is wrong, each part a *UsageError.
func LoadImport(fs *pflag.FlagSet, env Environment) (*Import, error) {
	return loadImport(newValues(fs, env))
}

func loadImport(v *values) (*Import, error) {
	c := &Import{Common: v.common(needTarget), Policy: v.policy(), DryRun: v.boolean("dry-run")}
	c.Resume = v.resume(c.Common, "")
	c.WaitReplicas = v.replicas()
	c.Live = v.live(&c.Source)
	if c.Follow && len(c.Choice.Types) > 0 {
		v.wrong("type", "of what type a key is that is written to later can't be told; leave it out when the source is followed")
	}
	rounds := v.rounds()
	if v.boolean("verify") {
		c.Verify = rounds
		if c.Source.Kind == KindStdin {
			v.wrong("verify", "%v", errStdinTwice)
		}
	}
	return done(v, c, &c.Common)
}

// LoadPlan is LoadImport for a plan.
func LoadPlan(fs *pflag.FlagSet, env Environment) (*Plan, error) {
	v := newValues(fs, env)
	need := v.text("target") != "" && v.origins["masters"].rank <= v.origins["target"].rank
	c := &Plan{Common: v.common(need), Policy: v.policy(), Format: v.format("format", "text", "json", "html"), Out: v.text("out")}
	c.Masters = v.masters(need)
	c.Separator = v.separator()
	return done(v, c, &c.Common)
}

// LoadVerify is LoadImport for a verification.
func LoadVerify(fs *pflag.FlagSet, env Environment) (*Verify, error) {
	v := newValues(fs, env)
	c := &Verify{
		Common: v.common(needTarget), Rounds: v.rounds(), Extra: v.boolean("extra"), Repair: v.boolean("repair"),
		Format: v.format("format", "text", "json"),
	}
	c.Resume = v.resume(c.Common, "-verify")
	if c.Source.Kind == KindStdin {
		v.wrong("source", "%v", errStdinTwice)
	}
	if c.Extra && len(c.Choice.Types) > 0 {
		v.wrong("extra", "it does not go with --type: of what type a key would be that the source does not have can't be told")
	}
	if v.sample(&c.Choice) && !v.isSet("checkpoint") {
		c.Checkpoint = "none" // the next run may pick other keys
	}
	return done(v, c, &c.Common)
}

// done asks for passwords and returns what was loaded, or all that is wrong.
func done[C any](v *values, c *C, j *Common) (*C, error) {
	if len(v.errs) == 0 { // nobody is asked for passwords in vain
		v.ask(&j.Source, &j.Target)
	}
	j.Warnings = v.warnings
	if len(v.errs) > 0 {
		return nil, errors.Join(v.errs...)
	}
	return c, nil
}

const needTarget = true

// common reads what all commands share.
func (v *values) common(target bool) Common {
	var c Common
	c.Source = v.source()
	if target {
		c.Target = v.target()
	}
	c.Choice = v.choice(&c.Source)
	c.RetryFor = v.duration("retry-for")
	c.RateKeys = v.rate("rate-keys")
	c.RateBytes = v.bytes("rate-bytes", 0)
	c.Memory = v.bytes("memory", minMemory)
	c.MaxCommand = v.bytes("max-command", minCommand)
	c.ScanCount = v.count("scan-count", maxScanCount)
	c.MaxLatency = v.duration("max-source-latency")
	c.Spool, c.AOF = v.spool(), v.aof(&c.Source)
	c.Output = v.oneOf("output")
	c.AddressMap = v.addressMap()
	return c
}

func (v *values) policy() Policy {
	return Policy{
		OnExists: v.oneOf("on-exists"), OnUnsupported: v.oneOf("on-unsupported"), Functions: v.oneOf("functions"),
		FailFast: v.boolean("fail-fast"),
	}
}

// resume reads where progress is kept. A job that is named after source and
// target gets the suffix.
func (v *values) resume(c Common, suffix string) Resume {
	r := Resume{Job: v.job(c.Source, c.Target, suffix), Restart: v.boolean("restart")}
	r.Checkpoint = v.checkpoint(r.Job)
	return r
}

// replicas reads how many replicas a checkpoint waits for.
func (v *values) replicas() int {
	const most = 100
	if strings.TrimSpace(v.text("wait-replicas")) == "0" {
		return 0
	}
	return v.count("wait-replicas", most)
}

func (v *values) rounds() Rounds {
	return Rounds{Count: v.count("rounds", maxRounds), Pause: v.duration("pause")}
}
