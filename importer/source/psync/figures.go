package psync

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Received is the offset of the source's stream up to which it was received.
func (s *Source) Received() int64 { return s.received.Load() }

// Spooled is how many received bytes wait to be yielded, and how many may.
func (s *Source) Spooled() (used, limit int64) {
	if sp := s.spool.Load(); sp != nil {
		return sp.Buffered(), sp.Max()
	}
	return 0, 0
}

// SpoolFull says why the source is not read at full speed, "" if it is.
func (s *Source) SpoolFull() string {
	if sp := s.spool.Load(); sp != nil {
		return sp.Full()
	}
	return ""
}

// Offset is how far the source's stream reaches. If the user may not ask that,
// it is what was received.
func (s *Source) Offset(ctx context.Context) (int64, error) {
	if s.mute.Load() {
		return s.Received(), nil
	}
	info, err := s.client.Info(ctx, "replication").Result()
	if noPerm(err) {
		s.mute.Store(true)
		return s.Received(), nil
	}
	if err != nil {
		return 0, err
	}
	offset, err := strconv.ParseInt(fields(info)["master_repl_offset"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("INFO replication of the source: master_repl_offset: %w", err)
	}
	return offset, nil
}

// noPerm tells whether the server refused a command for lack of rights.
func noPerm(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }

// fields reads the lines "name:value" of INFO.
func fields(info string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			out[name] = value
		}
	}
	return out
}

// ErrUnknown means that the source does not tell.
var ErrUnknown = errors.New("the source does not tell")

// SourceBuffer is how many bytes wait in the source's output buffer for us, and
// from how many on it ends the replication; a limit of 0 means never.
// ErrUnknown: the user may not ask, or our connection is not to be found.
func (s *Source) SourceBuffer(ctx context.Context) (used, limit int64, err error) {
	local := s.local.Load()
	if local == nil || s.blind.Load() {
		return 0, 0, ErrUnknown
	}
	pipe := s.client.Pipeline()
	list := pipe.Do(ctx, "CLIENT", "LIST", "TYPE", "SLAVE")
	config := pipe.ConfigGet(ctx, bufferLimits)
	_, _ = pipe.Exec(ctx) // each command's own error counts
	text, err := list.Text()
	if noPerm(err) || noPerm(config.Err()) {
		s.blind.Store(true) // each refusal is noted in the source's ACL LOG
		return 0, 0, ErrUnknown
	}
	if err = errors.Join(err, config.Err()); err != nil {
		return 0, 0, err
	}
	used, ok := ours(text, *local)
	if !ok {
		return 0, 0, ErrUnknown
	}
	hard, soft, _ := replicaLimits(config.Val()[bufferLimits])
	if limit = hard; soft > 0 && (hard == 0 || soft < hard) {
		limit = soft
	}
	return used, limit, nil
}

// ours finds the output buffer's bytes of our connection in CLIENT LIST: by our
// address, or as the only one where the source sees another.
func ours(list, local string) (used int64, ok bool) {
	lines := strings.Split(strings.TrimSpace(list), "\n")
	for _, line := range lines {
		entry := map[string]string{}
		for word := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(word, "=")
			entry[name] = value
		}
		if entry["addr"] == local || len(lines) == 1 {
			used, err := strconv.ParseInt(entry["omem"], 10, 64)
			return used, err == nil
		}
	}
	return 0, false
}

const bufferLimits = "client-output-buffer-limit"

// replicaLimits reads CONFIG GET client-output-buffer-limit: class, hard and
// soft limit in bytes, seconds of the soft one; classes one after the other.
func replicaLimits(text string) (hard, soft int64, softFor time.Duration) {
	words := strings.Fields(text)
	for i := 0; i+3 < len(words); i += 4 {
		if words[i] != "slave" && words[i] != "replica" {
			continue
		}
		hard, _ = strconv.ParseInt(words[i+1], 10, 64)
		soft, _ = strconv.ParseInt(words[i+2], 10, 64)
		seconds, _ := strconv.ParseInt(words[i+3], 10, 64)
		softFor = time.Duration(seconds) * time.Second
	}
	return hard, soft, softFor
}

// bufferEvery is between looks at the source's output buffer.
const bufferEvery = 5 * time.Second

// watchBuffer warns before the source's output buffer for us is full.
func (s *Source) watchBuffer(ctx context.Context) {
	tick := time.NewTicker(bufferEvery)
	defer tick.Stop()
	warned := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used, limit, err := s.SourceBuffer(ctx)
		near := err == nil && limit > 0 && used >= limit/10*8
		if near && !warned {
			s.log.Warn("the source's output buffer for this replication is nearly full; beyond the limit it ends the replication, and a new full copy may be needed; allow more with CONFIG SET client-output-buffer-limit on the source",
				zap.Int64("bytes", used), zap.Int64("limit", limit), zap.String("spool", s.SpoolFull()))
		}
		warned = near
	}
}
