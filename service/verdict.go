package service

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

// verdict decides whether somebody is told how a run ended; before is how many
// came to nothing in a row before it.
func (j *job) verdict(r *Run, before int, told bool) *Alert {
	m := &j.mark
	switch {
	case r.Status == Done && m.Alerted:
		m.Alerted = false
		a := j.alert(OnRecovery)
		a.Message = fmt.Sprintf("job %s was done, after %d runs that came to nothing", j.name, before)
		a.Status, a.Run = r.Status, r.ID
		return &a
	case r.Status == Done, r.Status == Interrupted && told, j.hopeful(r.Status):
		return nil
	case m.Alerted && !j.retry.at.IsZero():
		return nil // it is tried again and again
	}
	m.Alerted = true
	a := j.alert(OnFailure)
	a.Message = fmt.Sprintf("job %s: %s: %s", j.name, r.Status, r.Error)
	a.Remedy, a.Status, a.Run = r.Remedy, r.Status, r.ID
	return &a
}

// hopeful tells whether the run is tried again so soon that nobody needs to know
// yet.
func (j *job) hopeful(s Status) bool {
	return !j.retry.at.IsZero() && s != Blocked && j.mark.Failures <= j.spec.Retries.Count
}

func (j *job) alert(event string) Alert {
	return Alert{
		Event: event, Time: j.svc.now(), Job: j.name, Source: j.spec.Source, Target: j.spec.Target, Failures: j.mark.Failures,
	}
}

func (j *job) tell(a *Alert) {
	if a == nil {
		return
	}
	j.log.Warn(a.Message, zap.String("alert", a.Event))
	if j.svc.opts.Alerts != nil {
		j.svc.opts.Alerts.Tell(*a)
	}
}

// watchLag tells when a live copy falls behind, and when it has caught up to
// half of that.
func (j *job) watchLag(c *going, lag *Lag) {
	if lag == nil || j.svc.opts.Lag <= 0 {
		return
	}
	behind := time.Duration(lag.Seconds * float64(time.Second))
	var a Alert
	switch {
	case !c.lagging && behind > j.svc.opts.Lag:
		a = j.alert(OnLag)
		a.Message = fmt.Sprintf("job %s: the cluster is %s behind the source", j.name, behind.Round(time.Second))
	case c.lagging && behind <= j.svc.opts.Lag/2:
		a = j.alert(OnRecovery)
		a.Message = fmt.Sprintf("job %s: the cluster is no more than %s behind the source again", j.name, behind.Round(time.Second))
	default:
		return
	}
	c.lagging = !c.lagging
	a.Lag, a.Run = lag, c.run.ID
	j.tell(&a)
}
