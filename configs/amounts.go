package configs

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// maxScanCount keeps one SCAN short: the server does nothing else meanwhile.
	maxScanCount = 1_000_000
	maxRounds    = 1000
)

// bytes returns a size of at least least bytes.
func (v *values) bytes(name string, least int64) int64 {
	text := strings.TrimSpace(v.text(name))
	const advice = "write a size such as 50MiB, 1.5GB or 1048576"
	if strings.HasPrefix(text, "-") {
		v.wrong(name, "%q is negative; %s", text, advice)
		return 0
	}
	n, err := humanize.ParseBytes(text)
	switch {
	case strings.Contains(text, ","): // taken as 1000 by some, as a point by others
		v.wrong(name, "%q has a comma; %s", text, advice)
	case errors.Is(err, strconv.ErrRange), err != nil && strings.Contains(err.Error(), "too large"), err == nil && n > math.MaxInt64:
		v.wrong(name, "%q is more than any machine has; %s", text, advice)
	case err != nil:
		v.wrong(name, "%q is no size; %s", text, advice)
	case int64(n) < least:
		v.wrong(name, "%q is too small; it takes at least %s", text, humanize.IBytes(uint64(least)))
	default:
		return int64(n)
	}
	return 0
}

func (v *values) rate(name string) float64 {
	text := strings.TrimSpace(v.text(name))
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		v.wrong(name, "%q is no rate; write keys a second such as 5000, or 0 for no limit", text)
		return 0
	}
	return n
}

func (v *values) count(name string, most int) int {
	text := strings.TrimSpace(v.text(name))
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		v.wrong(name, "%q is not possible; write a number from 1 to %d", text, most)
		return 0
	}
	return n
}

func (v *values) duration(name string) time.Duration {
	text := strings.TrimSpace(v.text(name))
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		v.wrong(name, "%q is no time; write it with a unit, such as 30s, 5m or 1h30m", text)
	case d < 0:
		v.wrong(name, "%q is negative; write a time such as 5m, or 0", text)
	}
	return max(d, 0)
}
