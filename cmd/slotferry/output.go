package main

import (
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/importer/verify"
)

// output is how the operator is told: log lines on standard error, the result
// on standard output, and in between either a live display, a line now and
// then, or events in JSON.
type output struct {
	log    *zap.Logger
	stdout io.Writer
	stderr *detour
	json   *events // nil: for people
	live   bool

	differences int                     // told
	differs     func(verify.Difference) // told first, where somebody else wants to know; nil: nobody
}

// newOutput chooses by --output and by what standard error is.
func newOutput(mode string, stdout, stderr io.Writer) *output {
	o := &output{stdout: stdout, stderr: &detour{w: stderr}}
	f, isFile := stderr.(*os.File)
	terminal := isFile && isTerminal(f)
	if mode == "json" {
		o.json = &events{w: stdout}
		o.log = newLogger(o.stderr, true)
		return o
	}
	o.live = mode == "auto" && terminal
	o.log = newLogger(o.stderr, false)
	return o
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func newLogger(w zapcore.WriteSyncer, json bool) *zap.Logger {
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.RFC3339TimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(enc)
	if !json {
		enc.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
		enc.EncodeLevel = zapcore.CapitalLevelEncoder
		enc.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(enc)
	}
	return zap.New(zapcore.NewCore(encoder, w, zapcore.InfoLevel))
}

func (o *output) close() { _ = o.log.Sync() }

// configured tells what the operator should know of the configuration.
func (o *output) configured(c *configs.Common) {
	for _, w := range c.Warnings {
		o.log.Warn(w)
	}
}

// foreseen tells the plan of an import, as far as it is known before.
func (o *output) foreseen(p *report.Plan) {
	if o.json != nil {
		o.json.plan(p)
		return
	}
	p.WriteShort(o.between(), width())
}

// between is where text goes while progress is told.
func (o *output) between() io.Writer {
	if f, ok := o.stdout.(*os.File); ok && o.live && isTerminal(f) {
		return o.stderr // above the display
	}
	return o.stdout
}

// warnings tells what preflight found besides blockers.
func (o *output) warnings(found preflight.Findings) {
	for _, f := range found {
		if o.json != nil {
			o.json.finding("warning", f)
			continue
		}
		text := f.Message
		if f.Remedy != "" {
			text += " → " + f.Remedy
		}
		o.log.Warn(text, zap.String("code", f.Code))
	}
}

// standstill tells who reads events that nothing gets on; people have it from
// the log.
func (o *output) standstill(s importer.Standstill) {
	if o.json != nil {
		o.json.standstill(s)
	}
}

// step tells a step of a cutover.
func (o *output) step(step, text string) {
	if o.json != nil {
		o.json.step(step, text)
		return
	}
	o.log.Info("cutover: "+text, zap.String("step", step))
}

// watch follows a job until the returned function is called.
func (o *output) watch(job *importer.Job) (stop func()) {
	switch {
	case o.json != nil:
		return every(time.Second, func(m *meter) { o.json.progress(job.Progress(), m) }, job)
	case o.live:
		return o.display(job)
	}
	return every(5*time.Second, func(m *meter) { o.line(job.Progress(), m) }, job)
}

// every calls tell in intervals, with the speed of late.
func every(interval time.Duration, tell func(*meter), job *importer.Job) (stop func()) {
	m := newMeter()
	return tickUntil(interval, func() {
		if p := job.Progress(); p.Phase != "preflight" && p.Phase != "finish" {
			m.add(p)
			tell(m)
		}
	})
}

// tickUntil calls f in intervals until the returned function is called.
func tickUntil(interval time.Duration, f func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f()
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// end tells how an import ended, with its verification if there was one.
func (o *output) end(c *configs.Import, s importer.Summary, proof *importer.Verification, err error) {
	if o.json != nil {
		o.json.end(s, proof, err)
		for _, f := range s.Failures[:min(len(s.Failures), shownFailures)] {
			if f.Skipped {
				o.log.Warn(failureText(f))
			} else {
				o.log.Error(failureText(f))
			}
		}
		if err != nil {
			todo := next(c, s, err)
			if proof != nil {
				todo = nextOf(*proof, err)
			}
			o.log.Error(reason(err), zap.String("next", todo))
		}
		return
	}
	finalReport(o.stdout, o.stderr, c, s, proof, err)
}

// detour is a writer that a live display takes over for as long as it runs.
type detour struct {
	mu sync.Mutex
	w  io.Writer
}

func (d *detour) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.w.Write(p)
}

// Sync implements zapcore.WriteSyncer: nothing is held back.
func (d *detour) Sync() error { return nil }

// over sends what is written to another writer and returns the one before.
func (d *detour) over(w io.Writer) io.Writer {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.w
	d.w = w
	return before
}
