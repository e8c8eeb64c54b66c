package configs

import (
	"strings"
	"time"
)

// Live says how a running source is followed beyond its copy.
type Live struct {
	Follow  bool   // what is written during the copy and after it is carried, too
	Once    bool   // until what was written before the end of the copy is in
	OnFlush string // "stop" or "apply"

	Cutover      bool
	LagThreshold int64         // bytes of the source's stream that may be missing when its writers are paused
	PauseTimeout time.Duration // of the source's writers
	OnCutover    string        // a command for the shell; "": none
}

// Spool says where what does not fit into memory waits.
type Spool struct {
	Dir string // ""; beside the checkpoint
	Max int64  // bytes
}

// AOF says how an append-only file is read.
type AOF struct {
	Via           string    // "auto", "replay" or "scratch"
	ScratchServer string    // path of a redis-server; "": found on PATH
	Until         time.Time // the point in time to read up to; zero: the end
}

// live reads how a source is followed.
func (v *values) live(s *Source) Live {
	l := Live{
		Follow: v.boolean("follow"), Once: v.boolean("once"), OnFlush: v.oneOf("on-flush"), Cutover: v.boolean("cutover"),
		LagThreshold: v.bytes("lag-threshold", 0), PauseTimeout: v.duration("pause-timeout"), OnCutover: v.text("on-cutover"),
	}
	const living = "it is for a running source that is followed: --via sync, or --via scan with --follow"
	l.Follow = l.Follow || s.Via == "sync"
	for name, wanted := range map[string]bool{"follow": l.Follow && s.Kind != KindRedis, "once": l.Once && !l.Follow, "cutover": l.Cutover && !l.Follow} {
		if wanted {
			v.wrong(name, "%s", living)
		}
	}
	if l.Once && l.Cutover {
		v.wrong("once", "a cutover ends by itself; leave one of them out")
	}
	if l.OnCutover != "" && !l.Cutover {
		v.wrong("on-cutover", "it is run by --cutover, which is not given")
	}
	if l.Cutover && l.PauseTimeout < leastPause {
		v.wrong("pause-timeout", "%q is too short to finish anything; write a time such as 30s", v.text("pause-timeout"))
	}
	return l
}

const leastPause = time.Second

func (v *values) spool() Spool {
	return Spool{Dir: v.text("spool-dir"), Max: v.bytes("spool-max", leastSpool)}
}

// leastSpool holds one of the files that a spool is made of, and the next.
const leastSpool = 64 << 20

// aof reads how an append-only file is read.
func (v *values) aof(s *Source) AOF {
	a := AOF{Via: v.oneOf("aof-via"), ScratchServer: v.text("scratch-server")}
	if text := strings.TrimSpace(v.text("until")); text != "" {
		var err error
		if a.Until, err = time.Parse(time.RFC3339, text); err != nil {
			v.wrong("until", "%q is no time; write it with its zone, such as 2026-03-01T14:30:00+01:00 or 2026-03-01T13:30:00Z", text)
		}
	}
	if s.Kind == KindAOF {
		return a
	}
	for name, given := range map[string]bool{
		"aof-via": a.Via == "replay" || a.Via == "scratch", "scratch-server": v.isSet("scratch-server"), "until": v.isSet("until"),
	} {
		if given {
			v.wrong(name, "it is for an append-only file, which the source is not")
		}
	}
	return a
}
