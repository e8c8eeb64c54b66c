package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/pulse"
)

// TestStandstillIsTold tells a standstill in every way there is.
func TestStandstillIsTold(t *testing.T) {
	since := time.Now().Add(-90 * time.Second)
	s := importer.Standstill{Stage: "copy", Since: since, For: 90 * time.Second, Outlook: "it goes on by itself",
		Waits: []pulse.Wait{{On: "10.0.0.1:6379", What: "an answer", Since: since, Remedy: "see that it is up"}}}
	var stdout, stderr bytes.Buffer
	events := newOutput("json", &stdout, io.Discard)
	events.standstill(s)
	s.Over = true
	events.standstill(s)
	s.Over = false
	var told [2]struct {
		Event, Stage, Remedy string
		Since                time.Time
		Seconds              float64
		Waits                []struct {
			On, What string
			Since    time.Time
		}
	}
	decoder := json.NewDecoder(&stdout)
	for i := range told {
		if err := decoder.Decode(&told[i]); err != nil {
			t.Fatal(err)
		}
	}
	first, last := told[0], told[1]
	if first.Event != "standstill" || first.Stage != "copy" || first.Seconds != 90 || !first.Since.Equal(since) || len(first.Waits) != 1 ||
		first.Waits[0].On != "10.0.0.1:6379" || first.Waits[0].What != "an answer" || !strings.Contains(first.Remedy, "see that it is up") {
		t.Errorf("%+v", first)
	}
	if last.Event != "goes_on" || last.Seconds != 90 || last.Remedy != "" {
		t.Errorf("%+v", last)
	}

	p := importer.Progress{Phase: "copy", Standstill: &s}
	v := view{meter: newMeter(), progress: p}
	if text := v.tail(); !strings.Contains(text, "no progress for 1m30s: waiting for an answer from 10.0.0.1:6379 since ") {
		t.Errorf("the display says %q", text)
	}
	newOutput("text", io.Discard, &stderr).line(p, newMeter())
	if !strings.Contains(stderr.String(), "no progress for 1m30s") {
		t.Errorf("the line is %q", stderr.String())
	}
}
