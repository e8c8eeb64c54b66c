package wait

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for failures := 1; failures < 200; failures++ {
		for range 20 {
			if d := Backoff(failures); d < 25*time.Millisecond || d >= 3*time.Second || (failures == 1 && d >= 75*time.Millisecond) || (failures > 6 && d < time.Second) {
				t.Fatalf("backoff(%d) = %s", failures, d)
			}
		}
	}
}

func TestForEndsWithTheContext(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := For(ctx, time.Hour); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := For(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}
