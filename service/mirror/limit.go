package mirror

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limit is how many keys may be removed at once. The zero value is 10 percent.
type Limit struct {
	share float64
	keys  int64
	kind  byte // 0 for the default, '%', 'n'
}

// Share is a limit in percent of the keys that are remembered.
func Share(percent float64) Limit { return Limit{share: percent, kind: '%'} }

// Keys is a limit in keys.
func Keys(n int64) Limit { return Limit{keys: n, kind: 'n'} }

// ParseLimit reads "10%" or "5000".
func ParseLimit(text string) (Limit, error) {
	if percent, ok := strings.CutSuffix(strings.TrimSpace(text), "%"); ok {
		p, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if err == nil && p >= 0 && p <= 100 {
			return Share(p), nil
		}
	} else if n, err := strconv.ParseInt(percent, 10, 64); err == nil && n >= 0 {
		return Keys(n), nil
	}
	return Limit{}, fmt.Errorf("%q is neither a share such as 10%% nor a number of keys", text)
}

// of returns the limit in keys, of so many that are remembered.
func (l Limit) of(have int64) int64 {
	switch l.kind {
	case 'n':
		return l.keys
	case '%':
		return int64(math.Ceil(l.share / 100 * float64(have)))
	}
	return Share(10).of(have)
}

// RefusedError means that more would have been removed than is allowed: nothing
// was.
type RefusedError struct {
	Would int64 // be removed
	Have  int64 // are remembered
	Max   int64 // may be removed
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%d of %d mirrored keys are gone from the source, more than the %d that max_delete allows: none was removed. If that is how it should be, raise max_delete and run again; if not, see that the source is the right one and has all its data",
		e.Would, e.Have, e.Max)
}
