package web

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

func comma(n int64) string { return humanize.Comma(n) }

func iec(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// lasting is a time in the two largest units that it has.
func lasting(seconds float64) string {
	const longest = 1e8
	seconds = min(max(0, seconds), longest)
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %02d h", int(d.Hours())/24, int(d.Hours())%24)
}
