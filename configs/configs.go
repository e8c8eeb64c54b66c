// Package configs turns flags, environment and a YAML file into plain checked
// structs, and collects the secrets that belong to them. It is the only package
// that knows viper. It opens files of secrets and certificates, asks on the
// terminal when told to, and never connects to anything. No error or warning
// of it contains a password.
package configs

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
)

// Import is all that one import needs to know.
type Import struct {
	Source Source
	Target Target
	Choice choice.Options // checked: choice.New takes it

	OnExists      string // "fail", "replace" or "skip"
	OnUnsupported string // "fail" or "skip"
	Functions     string // "replace", "skip" or "fail"
	FailFast      bool
	RetryFor      time.Duration // 0: no second try

	RateKeys  float64 // keys a second; 0: no limit
	RateBytes int64   // bytes a second; 0: no limit
	Memory    int64   // bytes
	ScanCount int     // keys asked for by one SCAN

	Checkpoint string // a folder, "target" or "none"
	Job        string // safe as a file name
	Restart    bool

	Output     string            // "auto", "text" or "json"
	AddressMap map[string]string // announced host or host:port → the same as dialled; IPv6 hosts alone without brackets

	Warnings []string // what the operator should know; without secrets
}

// The kinds of sources.
const (
	KindRedis = "redis" // a live server
	KindRDB   = "rdb"   // a file
	KindStdin = "stdin" // an RDB on standard input
)

// Source is where keys come from.
type Source struct {
	Kind     string
	Path     string            // of the RDB file
	Endpoint endpoint.Endpoint // of the server
	DB       int               // database that the URL names; -1: none
	Via      string            // "scan" for a server, else ""
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

// Load reads the configuration of an import: flags beat environment, which
// beats the file that --config names. fs are flags made by Flags, parsed. The
// error joins everything that is wrong, each part a *UsageError.
func Load(fs *pflag.FlagSet, env Environment) (*Import, error) {
	if env.Lookup == nil {
		env.Lookup = os.LookupEnv
	}
	if env.Prompt == nil {
		env.Prompt = askTerminal
	}
	v := newValues(fs, env)
	c := &Import{}
	c.Source = v.source()
	c.Target = v.target()
	c.Choice = v.choice(&c.Source)

	c.OnExists = v.oneOf("on-exists")
	c.OnUnsupported = v.oneOf("on-unsupported")
	c.Functions = v.oneOf("functions")
	c.FailFast = v.boolean("fail-fast")
	c.RetryFor = v.duration("retry-for")

	c.RateKeys = v.rate("rate-keys")
	c.RateBytes = v.bytes("rate-bytes", 0)
	c.Memory = v.bytes("memory", minMemory)
	c.ScanCount = v.count("scan-count")

	c.Job = v.job(c.Source, c.Target)
	c.Checkpoint = v.checkpoint(c.Job)
	c.Restart = v.boolean("restart")

	c.Output = v.oneOf("output")
	c.AddressMap = v.addressMap()

	if len(v.errs) == 0 { // nobody is asked for passwords in vain
		v.ask(&c.Source, &c.Target)
	}
	c.Warnings = v.warnings
	if len(v.errs) > 0 {
		return nil, errors.Join(v.errs...)
	}
	return c, nil
}
