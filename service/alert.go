package service

import "time"

// Alerter tells somebody. It must not wait for them.
type Alerter interface{ Tell(Alert) }

// The things that are worth an alert.
const (
	OnFailure  = "failure"  // a run came to nothing, and won't be tried again soon
	OnRecovery = "recovery" // a run was done after that, or a lag is over
	OnLag      = "lag"      // a live copy is too far behind
)

// Alert is what somebody is told. Nothing in it is secret.
type Alert struct {
	Event    string    `json:"event"`
	Time     time.Time `json:"time"`
	Job      string    `json:"job"`
	Source   string    `json:"source"`
	Target   string    `json:"target"`
	Message  string    `json:"message"`
	Remedy   string    `json:"remedy,omitempty"`
	Status   Status    `json:"status,omitempty"` // of the run
	Run      uint64    `json:"run,omitempty"`
	Failures int       `json:"failures"` // in a row
	Lag      *Lag      `json:"lag,omitempty"`
}
