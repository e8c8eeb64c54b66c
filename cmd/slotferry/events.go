package main

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/importer/tail"
	"github.com/slotferry/slotferry/importer/target"
)

// events are one JSON object a line; the last one is the summary.
type events struct {
	mu sync.Mutex
	w  io.Writer
}

func (e *events) put(v any) {
	line, err := json.Marshal(v)
	if err != nil { // none of the types below can cause it
		line = []byte(`{"event":"error","message":"an event could not be encoded"}`)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _ = e.w.Write(append(line, '\n')) // a reader that went away must not stop the import
}

func (e *events) finding(event string, f preflight.Finding) {
	e.put(struct {
		Event string `json:"event"`
		preflight.Finding
	}{event, f})
}

func (e *events) progress(p importer.Progress, m *meter) {
	keys, bytes, _ := m.speed()
	out := struct {
		Event string `json:"event"`
		Phase string `json:"phase"`
		checkpoint.Counts
		Total          int64           `json:"total,omitempty"`
		Offset         int64           `json:"offset,omitempty"`
		Size           int64           `json:"size,omitempty"`
		KeysPerSecond  int64           `json:"keys_per_second"`
		BytesPerSecond int64           `json:"bytes_per_second"`
		Seconds        float64         `json:"seconds"`
		SecondsLeft    *float64        `json:"seconds_left,omitempty"`
		Lag            *importer.Lag   `json:"lag,omitempty"`
		Tail           *tail.Counts    `json:"tail,omitempty"`
		Masters        []target.Master `json:"masters"`
	}{
		Event: "progress", Lag: p.Lag, Tail: p.Tail, Phase: p.Phase, Counts: p.Counts, Total: p.Total, Offset: p.Offset, Size: p.Size,
		KeysPerSecond: int64(keys), BytesPerSecond: int64(bytes), Seconds: p.Elapsed.Seconds(), Masters: p.Masters,
	}
	if left, ok := m.left(p); ok {
		seconds := left.Seconds()
		out.SecondsLeft = &seconds
	}
	e.put(out)
}

// plan tells what will be done.
func (e *events) plan(p *report.Plan) {
	e.put(struct {
		Event string       `json:"event"`
		Plan  *report.Plan `json:"plan"`
	}{"plan", p})
}

// standstill tells that nothing gets on, or that it goes on.
func (e *events) standstill(s importer.Standstill) {
	out := struct {
		Event   string       `json:"event"`
		Stage   string       `json:"stage"`
		Since   time.Time    `json:"since"`
		Seconds float64      `json:"seconds"`
		Waits   []pulse.Wait `json:"waits"`
		Remedy  string       `json:"remedy,omitempty"`
	}{Event: "standstill", Stage: s.Stage, Since: s.Since, Seconds: s.For.Seconds(), Waits: s.Waits}
	if s.Over {
		out.Event = "goes_on"
	} else {
		out.Remedy = s.Remedy()
	}
	e.put(out)
}

// step tells a step of a cutover.
func (e *events) step(step, text string) {
	e.put(struct {
		Event   string    `json:"event"`
		Step    string    `json:"step"`
		Message string    `json:"message"`
		Time    time.Time `json:"time"`
	}{"cutover", step, text, time.Now()})
}

// blockers tells what stands in the way, if that is the error.
func (e *events) blockers(err error) {
	var blocked *preflight.Error
	if errors.As(err, &blocked) {
		for _, f := range blocked.Blockers {
			e.finding("blocker", f)
		}
	}
}

// end tells of blockers, failed keys and the error, then the summary.
func (e *events) end(s importer.Summary, proof *importer.Verification, err error) {
	e.blockers(err)
	for _, f := range s.Failures {
		e.failure(failureEvent(f), f)
	}
	out := struct {
		Event string `json:"event"`
		importer.Summary
		Verification *importer.Verification `json:"verification,omitempty"`
		Exit         int                    `json:"exit"`
		Error        string                 `json:"error,omitempty"`
	}{Event: "summary", Summary: s, Verification: proof, Exit: exitCode(err)}
	if err != nil {
		out.Error = reason(err)
	}
	e.put(out)
}

func failureEvent(f checkpoint.Failure) string {
	if f.Skipped {
		return "unsupported"
	}
	return "failed"
}

// failure names a key; one that is not valid UTF-8 in base64.
func (e *events) failure(event string, f checkpoint.Failure) {
	out := struct {
		Event  string `json:"event"`
		Key    string `json:"key,omitempty"`
		Base64 []byte `json:"key_base64,omitempty"`
		DB     int    `json:"db"`
		Slot   uint16 `json:"slot"`
		Node   string `json:"node,omitempty"`
		Reason string `json:"reason"`
	}{Event: event, DB: f.DB, Slot: f.Slot, Node: f.Node, Reason: f.Reason}
	out.Key, out.Base64 = nameOf(f.Key)
	e.put(out)
}

// nameOf is a key as JSON has it: text, or else bytes.
func nameOf(key []byte) (text string, base64 []byte) {
	if utf8.Valid(key) {
		return string(key), nil
	}
	return "", key
}
