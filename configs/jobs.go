package configs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/slotferry/slotferry/service"
	"github.com/slotferry/slotferry/service/mirror"
)

// ServiceJob is one job of a service.
type ServiceJob struct {
	Name         string
	Kind         service.Kind
	Schedule     *service.Schedule // of cron jobs
	CatchUp      bool
	Retries      service.Retries
	Import       *Import
	Mirror       *Mirror // nil: all of it is copied each time
	SharedTarget bool
	Settings     string // different when anything of the job is; without secrets
}

// Mirror says how a job keeps the target like the source.
type Mirror struct {
	Dir         string // where it remembers what was written
	MaxDelete   mirror.Limit
	CheckTarget bool // compare both sides afterwards
	Repair      bool // and put right what differs
}

const maxRetries = 1000

// jobs reads all jobs.
func (f *serviceFile) jobs(folder string, b *block) (out []ServiceJob) {
	n := b.nodes["jobs"]
	if n == nil || n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		b.wrong("jobs", "there is none; write a list of them, each beginning with \"- name:\"")
		return nil
	}
	seen := map[string]int{}
	for i, node := range n.Content {
		j := f.job(folder, i, node)
		if line, twice := seen[j.Name]; twice && j.Name != "" {
			f.d.wrong("jobs."+j.Name, "line %d: the job in line %d has this name already", node.Line, line)
		}
		seen[j.Name] = node.Line
		out = append(out, j)
	}
	return out
}

func (f *serviceFile) job(folder string, i int, n *yaml.Node) ServiceJob {
	known := []string{"name", "schedule", "once", "live", "import", "mirror", "retries", "shared_target"}
	path := fmt.Sprintf("jobs.%d.", i+1)
	if name := nameOf(n); name != "" {
		path = "jobs." + name + "."
	}
	b := newBlock(f.d, path, n, known...)
	j := ServiceJob{Name: b.text("name", ""), SharedTarget: b.boolean("shared_target", false), Settings: fingerprint(folder, n)}
	if j.Name == "" {
		b.wrong("name", "it is missing")
	}
	f.kind(b, &j)
	r := newBlock(f.d, path+"retries.", b.nodes["retries"], "count", "pause")
	j.Retries = service.Retries{Count: r.count("count", 3, maxRetries), Pause: r.duration("pause", "1m", time.Second)}
	j.Mirror = f.mirror(folder, b, &j)
	if j.Import = f.imports(folder, b, j.Name); j.Import != nil {
		fits(b, &j)
	}
	return j
}

// nameOf is a job's name for messages, if it is written as one.
func nameOf(n *yaml.Node) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if name := n.Content[i+1].Value; n.Content[i].Value == "name" && len(name) <= maxJobBytes && !strings.ContainsFunc(name, func(r rune) bool { return !jobLetter(r) }) {
			return name
		}
	}
	return ""
}

// kind reads when the job runs.
func (f *serviceFile) kind(b *block, j *ServiceJob) {
	var kinds []service.Kind
	if b.boolean("once", false) {
		kinds = append(kinds, service.Once)
	}
	if b.boolean("live", false) {
		kinds = append(kinds, service.Live)
	}
	if b.has("schedule") {
		kinds = append(kinds, service.Cron)
		s := newBlock(f.d, b.path+"schedule.", b.nodes["schedule"], "cron", "zone", "jitter", "catch_up")
		j.Schedule, j.CatchUp = schedule(s), s.text("catch_up", "none") == "once"
		if c := s.text("catch_up", "none"); c != "once" && c != "none" {
			s.wrong("catch_up", "%q is not known; choose once or none", c)
		}
	}
	if len(kinds) != 1 {
		b.wrong("name", "it needs one of schedule:, once: true and live: true, and has %d", len(kinds))
		return
	}
	j.Kind = kinds[0]
}

func schedule(b *block) *service.Schedule {
	name := b.text("zone", "UTC")
	zone, err := time.LoadLocation(name)
	if err != nil {
		b.wrong("zone", "%q is no time zone; write one such as Europe/Berlin or UTC", name)
		zone = time.UTC
	}
	jitter := b.duration("jitter", "0s", 0)
	s, err := service.ParseSchedule(b.text("cron", ""), zone)
	if err != nil {
		b.wrong("cron", "%v", err)
		return nil
	}
	s.Jitter = jitter
	first := s.Next(time.Now())
	if gap := s.Next(first).Sub(first); gap > 0 && jitter >= gap {
		b.wrong("jitter", "%s is no less than the time from one run to the next", jitter)
	}
	return s
}

// mirror reads how a scheduled job mirrors; it does by default.
func (f *serviceFile) mirror(folder string, b *block, j *ServiceJob) *Mirror {
	n := b.nodes["mirror"]
	if n != nil && n.Kind == yaml.ScalarNode {
		if !b.boolean("mirror", true) || j.Kind != service.Cron && n.Value != "true" {
			return nil
		}
		n = &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
	}
	if j.Kind != service.Cron {
		if n != nil && j.Kind != "" {
			b.wrong("mirror", "it is for jobs with a schedule")
		}
		return nil
	}
	m := newBlock(f.d, b.path+"mirror.", n, "max_delete", "check_target", "repair")
	out := &Mirror{Dir: filepath.Join(folder, "mirrors", j.Name), CheckTarget: m.boolean("check_target", false), Repair: m.boolean("repair", true)}
	var err error
	if out.MaxDelete, err = mirror.ParseLimit(m.text("max_delete", "10%")); err != nil {
		m.wrong("max_delete", "%v", err)
	}
	return out
}

// oneRun are settings of an import that make no sense for a job that runs again
// and again with nobody there.
var oneRun = map[string]string{
	"job":            "it is the job's name",
	"config":         "there is no file in a file",
	"restart":        "each run would begin anew; stop the job and remove its folder in checkpoints instead",
	"dry_run":        "nothing would ever be written; use slotferry plan",
	"output":         "the service reports by its log, its history and HTTP",
	"source_askpass": "nobody is there to be asked; use source_password_file",
	"target_askpass": "nobody is there to be asked; use target_password_file",
}

// imports reads the settings of the import.
func (f *serviceFile) imports(folder string, b *block, name string) *Import {
	n := b.nodes["import"]
	if n == nil || n.Kind != yaml.MappingNode {
		b.wrong("import", "it is missing; it takes the settings of an import: source, target and more")
		return nil
	}
	path := b.path + "import."
	d := &decoder{}
	m := map[string]any{}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		lines[k.Value] = k.Line
		if why, refused := oneRun[k.Value]; refused {
			f.d.wrong(path+k.Value, "line %d: it is not for jobs of a service: %s", k.Line, why)
			continue
		}
		d.setting(k, value, m)
	}
	for _, p := range d.problems {
		f.d.wrong(strings.TrimSuffix(path+p.key, "."), "%s", p.message)
	}
	if text, _ := m["source"].(string); strings.TrimSpace(text) == "-" {
		f.d.wrong(path+"source", "line %d: a service has no standard input; name a file or a server", lines["source"])
		return nil
	}
	m["job"] = name
	if _, ok := m["checkpoint"]; !ok && folder != "" {
		m["checkpoint"] = filepath.Join(folder, "checkpoints", name)
	}
	v := f.values(m)
	c, err := loadImport(v)
	for _, e := range v.errs {
		f.wrongImport(path, lines, e)
	}
	if err != nil || len(d.problems) > 0 {
		return nil
	}
	for _, w := range c.Warnings {
		f.warnings = append(f.warnings, strings.TrimSuffix(b.path, ".")+": "+w)
	}
	return c
}

// values are settings that come from the file alone, but for credentials, which
// the environment gives to whom the file gives none.
func (f *serviceFile) values(m map[string]any) *values {
	lookup := f.env.Lookup
	if lookup == nil {
		lookup = os.LookupEnv
	}
	v := &values{viper: viper.New(), file: f.path, origins: map[string]origin{}}
	v.env.Lookup = func(name string) (string, bool) {
		for _, s := range []string{"source-username", "source-password", "target-username", "target-password"} {
			if _, given := m[key(s)]; name == variable(s) && !given {
				return lookup(name)
			}
		}
		return "", false
	}
	v.env.Prompt = func(string) (string, error) { return "", errNoTerminal }
	if err := v.viper.MergeConfigMap(m); err != nil {
		v.wrongAt(f.path, "%v", err)
	}
	none := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, s := range settings {
		v.merge(none, s)
	}
	return v
}

// wrongImport names the place of a wrong setting in the file.
func (f *serviceFile) wrongImport(path string, lines map[string]int, err error) {
	var e *UsageError
	if !errors.As(err, &e) {
		f.d.wrong(strings.TrimSuffix(path, "."), "%v", err)
		return
	}
	name, ok := strings.CutSuffix(e.Where, " in "+f.path)
	if flag, isFlag := strings.CutPrefix(e.Where, "--"); isFlag { // its default, or none
		name, ok = key(flag), true
	}
	if !ok {
		f.d.wrong(strings.TrimSuffix(path, "."), "%s: %s", e.Where, e.Message)
		return
	}
	if name == "job" { // which is given as the job's name
		name, path = "name", strings.TrimSuffix(path, "import.")
	}
	message := e.Message
	if line := lines[name]; line > 0 {
		message = fmt.Sprintf("line %d: %s", line, message)
	}
	f.d.problems = append(f.d.problems, problem{path + name, message})
}

// fits refuses what does not go together.
func fits(b *block, j *ServiceJob) {
	c := j.Import
	endless := c.Follow && !c.Live.Once && !c.Cutover
	switch {
	case j.Kind == service.Live && !endless:
		b.wrong("live", "the import ends by itself; follow the source with via: sync or follow: true, without once and cutover")
	case j.Kind != service.Live && j.Kind != "" && endless:
		b.wrong("import", "it follows its source without an end; write live: true, or give import.once or import.cutover")
	case j.Kind == service.Cron && j.Mirror == nil && c.OnExists == "fail":
		b.wrong("mirror", "without it every run after the first finds keys in the target; write on_exists: replace in import")
	case j.Mirror != nil && c.Follow:
		b.wrong("mirror", "it reads the whole source, and does not follow it; leave out via: sync and follow, or write mirror: false and on_exists: replace")
	case j.Mirror != nil && c.OnExists == "skip":
		b.wrong("mirror", "it does not go with on_exists: skip, which would never write what has changed")
	}
}

// fingerprint is different when anything of a job is, spelling included.
func fingerprint(folder string, n *yaml.Node) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", folder)
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		fmt.Fprintf(h, "(%d %q", n.Kind, n.Value)
		for _, c := range n.Content {
			visit(c)
		}
		fmt.Fprint(h, ")")
	}
	visit(n)
	return hex.EncodeToString(h.Sum(nil))
}
