// Package preflight is the vocabulary of what is looked at before the first
// write: findings, gathered from both sides and reported all at once. It knows
// how to ask a server for its rights without changing anything.
package preflight

import (
	"fmt"
	"slices"
	"strings"
)

// Finding is one thing that stands in the way of a job, or should be known
// before it begins.
type Finding struct {
	Code    string `json:"code"`             // a word for programs, such as "target_not_empty"
	Message string `json:"message"`          // what is so, and where
	Remedy  string `json:"remedy,omitempty"` // what to do about it
	Blocks  bool   `json:"-"`
}

// Findings is a list that grows during preflight.
type Findings []Finding

// Block adds something that must be mended before the job can begin.
func (f *Findings) Block(code, remedy, format string, args ...any) {
	*f = append(*f, Finding{Code: code, Message: fmt.Sprintf(format, args...), Remedy: remedy, Blocks: true})
}

// Warn adds something that the operator should know.
func (f *Findings) Warn(code, remedy, format string, args ...any) {
	*f = append(*f, Finding{Code: code, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}

// Blockers returns those that block.
func (f Findings) Blockers() Findings { return f.pick(true) }

// Warnings returns those that don't.
func (f Findings) Warnings() Findings { return f.pick(false) }

// Has reports whether one of the codes was found.
func (f Findings) Has(codes ...string) bool {
	return slices.ContainsFunc(f, func(x Finding) bool { return slices.Contains(codes, x.Code) })
}

// Without returns those that do not have the code.
func (f Findings) Without(code string) Findings {
	return slices.DeleteFunc(slices.Clone(f), func(x Finding) bool { return x.Code == code })
}

func (f Findings) pick(blocks bool) Findings {
	out := Findings{}
	for _, x := range f {
		if x.Blocks == blocks {
			out = append(out, x)
		}
	}
	return out
}

// Error is a preflight that found blockers: nothing was written.
type Error struct{ Blockers Findings }

// Blocked tells that nothing was written.
func (e *Error) Blocked() bool { return true }

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nothing was written: %d blocker", len(e.Blockers))
	if len(e.Blockers) != 1 {
		b.WriteByte('s')
	}
	for _, f := range e.Blockers {
		fmt.Fprintf(&b, "\n  %s: %s", f.Code, f.Message)
		if f.Remedy != "" {
			fmt.Fprintf(&b, "\n      → %s", f.Remedy)
		}
	}
	return b.String()
}
