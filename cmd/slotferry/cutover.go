package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
)

// newCutover says how the cutover of an import is done, nil for none.
func newCutover(c *configs.Import, out *output) *importer.Cutover {
	if !c.Cutover {
		return nil
	}
	o := &importer.Cutover{
		Threshold: c.LagThreshold, Timeout: c.PauseTimeout, Tell: out.step,
		Pause: func(ctx context.Context, timeout time.Duration) error {
			return onSource(c, func(client *redis.Client) error { return pauseWriters(ctx, client, timeout) })
		},
		Unpause: func(ctx context.Context) error {
			return onSource(c, func(client *redis.Client) error { return client.Do(ctx, "CLIENT", "UNPAUSE").Err() })
		},
		Compare: func(ctx context.Context) error { return compareSample(ctx, c, out) },
	}
	if c.OnCutover != "" {
		o.Switch = func(ctx context.Context, f importer.CutoverFacts) error { return runSwitch(ctx, c, f, out) }
	}
	return o
}

func onSource(c *configs.Import, do func(*redis.Client) error) error {
	client := c.Source.Endpoint.Client()
	defer func() { _ = client.Close() }()
	return do(client)
}

// pauseWriters makes the source answer no command that writes, for a time
// (https://redis.io/docs/latest/commands/client-pause/; WRITE since 6.2).
func pauseWriters(ctx context.Context, client *redis.Client, timeout time.Duration) error {
	err := client.Do(ctx, "CLIENT", "PAUSE", strconv.FormatInt(timeout.Milliseconds(), 10), "WRITE").Err()
	var said redis.Error
	if errors.As(err, &said) {
		return fmt.Errorf("%w: it answered %q", importer.ErrNoPause, said.Error())
	}
	return err
}

// comparedInPause is how many keys are compared while the writers wait.
const comparedInPause = 100_000

// compareSample compares some keys of both sides, all of them if they are few:
// those that SCAN gives first, which is by their hashes.
func compareSample(ctx context.Context, c *configs.Import, out *output) error {
	v := &configs.Verify{
		Common: c.Common, Resume: configs.Resume{Checkpoint: "none", Job: c.Job}, Rounds: configs.Rounds{Count: 1}, Limit: comparedInPause,
	}
	quiet := *out
	quiet.log = zap.NewNop()
	proof, err := compareSides(ctx, v, &quiet)
	if err != nil {
		return fmt.Errorf("the comparison of both sides: %w", err)
	}
	out.step("compared", fmt.Sprintf("%d keys were compared, and none differs", proof.Compared))
	return nil
}

// runSwitch runs the operator's command by the shell.
func runSwitch(ctx context.Context, c *configs.Import, f importer.CutoverFacts, out *output) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.OnCutover)
	cmd.Env = append(withoutSecrets(os.Environ()),
		"SLOTFERRY_CUTOVER_JOB="+c.Job,
		"SLOTFERRY_CUTOVER_SOURCE="+c.Source.Text,
		"SLOTFERRY_CUTOVER_TARGET="+c.Target.Text,
		"SLOTFERRY_CUTOVER_OFFSET="+strconv.FormatInt(f.Offset, 10),
		"SLOTFERRY_CUTOVER_PAUSED_AT="+f.Paused.Format(time.RFC3339Nano),
		"SLOTFERRY_CUTOVER_PAUSED_UNTIL="+timeOrNothing(f.PausedUntil),
		"SLOTFERRY_CUTOVER_CAUGHT_UP_MS="+strconv.FormatFloat(1000*f.CaughtUp, 'f', 0, 64),
	)
	cmd.Stdout, cmd.Stderr = out.stderr, out.stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the command of --on-cutover: %w", err)
	}
	return nil
}

// withoutSecrets leaves out the passwords that were given by the environment.
func withoutSecrets(environment []string) (out []string) {
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "SLOTFERRY_") || !strings.HasSuffix(name, "_PASSWORD") {
			out = append(out, entry)
		}
	}
	return out
}

func timeOrNothing(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}
