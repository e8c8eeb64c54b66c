package psync

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/preflight"
)

// replication looks at the source's own part in a replication.
func (s *Source) replication(ctx context.Context, found *preflight.Findings) {
	text, err := s.client.Info(ctx, "replication").Result()
	if err != nil {
		s.unreachable(found, err)
		return
	}
	info := fields(text)
	if info["role"] == "slave" {
		if info["master_link_status"] != "up" {
			found.Block("source_link_down", "see that its master is up and reachable (INFO replication), or name the master as the source",
				"the source %s is a replica that has lost its master: it makes no copy while that lasts", s.opts.Endpoint)
		} else {
			found.Warn("source_is_replica", "if it is behind its master, so will be the copy", "the source %s is a replica", s.opts.Endpoint)
		}
	}
	if state := info["master_failover_state"]; state != "" && state != "no-failover" {
		found.Block("source_failover", "wait until INFO replication says master_failover_state:no-failover, or FAILOVER ABORT",
			"the source %s is about to hand over to a replica (%s)", s.opts.Endpoint, state)
	}
}

const (
	// reconnectFor is the interruption that the source's backlog should bridge,
	// copySpeed what a source writes of its memory in a second for a full copy:
	// 534 MB took 4.6 s.
	reconnectFor  = time.Minute
	copySpeed     = 50 << 20
	leastPerSec   = 100 << 10 // of writes; at the moment of asking there may be none
	bufferReserve = 64 << 20
)

// settings looks at what of the source's configuration ends a replication, as
// far as the user may ask.
func (s *Source) settings(ctx context.Context, found *preflight.Findings) {
	names := []string{bufferLimits, "repl-backlog-size", "min-replicas-to-write", "repl-diskless-sync", "repl-diskless-sync-delay"}
	pipe := s.client.Pipeline()
	for _, name := range names {
		pipe.ConfigGet(ctx, name)
	}
	stats := pipe.Info(ctx, "stats")
	answers, _ := pipe.Exec(ctx) // each command's own error counts
	config := map[string]string{}
	for _, answer := range answers {
		if get, ok := answer.(interface {
			Result() (map[string]string, error)
		}); ok {
			got, err := get.Result()
			if noPerm(err) {
				found.Warn("source_settings_unknown", "ACL SETUSER <user> +config|get (before 7.0: +config)",
					"the user may not run CONFIG GET on the source: whether its %s and repl-backlog-size are enough is not known", bufferLimits)
				return
			}
			for name, value := range got {
				config[name] = value
			}
		}
	}
	kbps, _ := strconv.ParseFloat(fields(stats.Val())["instantaneous_input_kbps"], 64)
	s.judge(found, config, int64(kbps*1024))
}

// mostBacklog is the largest backlog that is recommended: what a source is sent
// counts what it is asked, too, so that the need may be far less.
const mostBacklog = 1 << 30

// judge compares the settings with what is likely: perSec bytes are written to
// the source in a second at the moment.
func (s *Source) judge(found *preflight.Findings, config map[string]string, perSec int64) {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(config[name], 10, 64)
		return n
	}
	perSec = max(perSec, leastPerSec)
	took := time.Duration(s.server.Used/copySpeed+1) * time.Second
	need := perSec*int64(took/time.Second) + bufferReserve
	hard, soft, softFor := replicaLimits(config[bufferLimits])
	if hard > 0 && hard < need || soft > 0 && soft < need && softFor < took {
		found.Warn("source_output_buffer", fmt.Sprintf(`CONFIG SET %s "replica %d %d 60"`, bufferLimits, 2*need, 2*need),
			"what is written to the source while it makes its full copy (about %s, %d KiB a second) may exceed its output buffer for replicas (%d bytes, or %d for %s), for which it would end the replication",
			took, perSec>>10, hard, soft, softFor)
	}
	if backlog := number("repl-backlog-size"); backlog > 0 && backlog < perSec*int64(reconnectFor/time.Second) {
		found.Warn("source_backlog", fmt.Sprintf("CONFIG SET repl-backlog-size %d", min(mostBacklog, max(64<<20, 2*perSec*int64(reconnectFor/time.Second)))),
			"the source keeps %d bytes of its stream (repl-backlog-size): a connection that is lost for longer than these last costs a new full copy", backlog)
	}
	if n := number("min-replicas-to-write"); n > 0 {
		found.Warn("source_counts_replicas", "",
			"the source wants %d replicas for a write (min-replicas-to-write), and this job counts as one of them while it runs: don't stop a real replica for it", n)
	}
	if delay := number("repl-diskless-sync-delay"); delay > 0 && config["repl-diskless-sync"] == "yes" {
		s.log.Info("the source waits for other replicas before it begins its full copy (repl-diskless-sync-delay)", zap.Int64("seconds", delay))
	}
}
