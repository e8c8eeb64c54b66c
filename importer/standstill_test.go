package importer_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/internal/dataset"
)

// impatience is when the tests are told of a standstill.
const impatience = 200 * time.Millisecond

// standstills lets a test wait for what a job tells.
type standstills chan importer.Standstill

func (s standstills) options(o *importer.Options) {
	o.StandstillAfter = impatience
	o.Standstill = func(told importer.Standstill) {
		select {
		case s <- told:
		default: // nobody waits for more
		}
	}
}

// naming waits until a standstill is told that names something.
func (s standstills) naming(t testing.TB, text string) importer.Standstill {
	t.Helper()
	for timeout := time.After(30 * time.Second); ; {
		select {
		case told := <-s:
			if strings.Contains(told.String(), text) {
				return told
			}
		case <-timeout:
			t.Errorf("nothing was told of %q", text)
			return importer.Standstill{}
		}
	}
}

// TestStandstill stops each side for a while: the import says whom it waits
// for, and that it goes on.
func TestStandstill(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 2000)
	writer := func(b *bench, more chan struct{}) importer.Source {
		data, err := os.ReadFile(path)
		must(t, err)
		from, to := io.Pipe()
		go func() {
			_, _ = to.Write(data[:len(data)/2])
			<-more
			_, _ = to.Write(data[len(data)/2:])
			_ = to.Close()
		}()
		return rdb.New(rdb.Options{Stream: from, Choice: b.keys, MaxValue: 1 << 20, Room: b.cluster.Room, Log: b.log})
	}
	more := make(chan struct{})
	for _, tc := range []struct {
		name        string
		from        func(*bench) importer.Source
		stop, start func() error
		names       string
	}{
		{"a source", fromServer(src), src.Pause, src.Resume, src.Addr},
		{"a master", fromFile(path), c.Nodes[1].Pause, c.Nodes[1].Resume, c.Nodes[1].Addr},
		{"a writer", func(b *bench) importer.Source { return writer(b, more) }, nil, func() error { close(more); return nil }, "standard input"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			empty(t, c)
			told, during := make(standstills, 100), make(chan *importer.Standstill, 1)
			var job *importer.Job
			watched := make(chan struct{})
			go func() {
				defer close(watched)
				s := told.naming(t, tc.names)
				during <- job.Progress().Standstill
				expect(t, tc.start())
				if s.Stage != "copy" || s.For < impatience || s.Since.IsZero() || !strings.Contains(s.Remedy(), "see that") {
					t.Errorf("%+v", s)
				}
				told.naming(t, "it goes on")
			}()
			out := run{from: tc.from, options: told.options, job: func(j *importer.Job) { job = j }, each: func(n int, _ *record.Record) {
				if n == 500 && tc.stop != nil {
					expect(t, tc.stop())
				}
			}}.do(t)
			out.wantDone(t)
			<-watched
			if shown := <-during; shown == nil || out.last.Standstill != nil {
				t.Errorf("shown %+v, at the end %+v", shown, out.last.Standstill)
			}
			if !strings.Contains(out.log, "no progress for") || !strings.Contains(out.log, tc.names) {
				t.Errorf("the log does not say it:\n%s", out.log)
			}
			wantSame(t, src, dataset.CompareOptions{})
		})
	}
}

// TestStandstillOfVerify stops a master while it is compared, then while extra
// keys are sought.
func TestStandstillOfVerify(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 2000)
	run{from: fromFile(path)}.do(t).wantDone(t)
	node := c.Nodes[2]
	told := make(standstills, 100)
	stage := ""
	goOn := func() {
		s := told.naming(t, node.Addr)
		expect(t, node.Resume())
		if stage != "" && s.Stage != stage {
			t.Errorf("told of stage %q, want %q", s.Stage, stage)
		}
	}
	for _, stage = range []string{"compare", "extra keys"} {
		t.Run(stage, func(t *testing.T) {
			ended := make(chan struct{})
			found, v, err := comparedWith(t, src, path, c, choice.Options{}, func(jo *importer.Options, vo *importer.VerifyOptions) {
				told.options(jo)
				halt := func() {
					expect(t, node.Pause())
					go func() {
						defer close(ended)
						goOn()
					}()
				}
				if stage == "compare" {
					jo.Source = &tap{jo.Source, func(_ context.Context, n int, _ *record.Record) {
						if n == 500 {
							halt()
						}
					}}
					return
				}
				names := vo.Names
				vo.Names = func(ctx context.Context, visit func(int, []byte) error) error {
					halt()
					return names(ctx, visit)
				}
			})
			<-ended
			if len(found) != 0 || err != nil || v.Compared != 2000 {
				t.Errorf("%q, %+v, %v", found, v, err)
			}
		})
	}
}

// TestLimitIsNoStandstill lets the limits make each key wait for longer than a
// standstill takes to be told.
func TestLimitIsNoStandstill(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 3)
	told := make(standstills, 100)
	out := run{from: fromFile(path), options: func(o *importer.Options) {
		told.options(o)
		o.StandstillAfter = 400 * time.Millisecond
		o.RateKeys = 1
	}}.do(t)
	out.wantDone(t)
	close(told)
	for s := range told {
		if s.Stage == "copy" {
			t.Errorf("told: %s", s)
		}
	}
}
