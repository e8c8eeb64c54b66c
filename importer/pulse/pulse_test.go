package pulse_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/pulse"
)

func TestReader(t *testing.T) {
	var p pulse.Pulse
	from, to := io.Pipe()
	r := &pulse.Reader{R: from, Pulse: &p, Wait: pulse.Wait{On: "the pipe", What: "more"}}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	for len(p.Waits()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if w := p.Waits(); w[0].On != "the pipe" || w[0].What != "more" || w[0].Since.IsZero() || p.Moved() != 0 {
		t.Errorf("%+v, moved %d", w, p.Moved())
	}
	_, _ = io.Copy(to, strings.NewReader("something"))
	_ = to.Close()
	if text := <-read; text != "something" || p.Moved() != 9 || len(p.Waits()) != 0 {
		t.Errorf("read %q, moved %d, waits for %+v", text, p.Moved(), p.Waits())
	}
}

func TestTrouble(t *testing.T) {
	var p pulse.Pulse
	p.Trouble(pulse.Wait{On: "a", What: "first"})
	first := p.Waits()[0].Since
	p.Move(7)
	p.Trouble(pulse.Wait{On: "a", What: "second"})
	short := p.Begin(pulse.Wait{On: "a", What: "an answer"})
	other := p.Begin(pulse.Wait{On: "b"})
	w := p.Waits()
	if len(w) != 2 || w[0].What != "second" || !w[0].Since.Equal(first) || w[1].On != "b" {
		t.Errorf("waits %+v, want the trouble from its beginning, and b", w)
	}
	if p.Moved() != 0 {
		t.Errorf("%d moved in vain attempts", p.Moved())
	}
	p.End(short)
	p.End(other)
	p.Well()
	p.Move(7)
	if len(p.Waits()) != 0 || p.Moved() != 7 {
		t.Errorf("waits %+v, moved %d", p.Waits(), p.Moved())
	}
}
