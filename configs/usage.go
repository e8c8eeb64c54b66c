package configs

import (
	"fmt"
	"strings"
)

// UsageError is something the user must change. The process ends with ExitCode.
type UsageError struct {
	Where   string // the flag ("--memory"), variable ("SLOTFERRY_MEMORY") or key ("memory in job.yaml") it came from
	Message string // what is wrong and what to do; without secrets
}

func (e *UsageError) Error() string { return e.Where + ": " + e.Message }

// ExitCode is that of every wrong usage or configuration.
func (e *UsageError) ExitCode() int { return 2 }

// nearest returns the word that is closest to a misspelt one, or "".
func nearest(word string, among []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, w := range among {
		if d := distance(strings.ToLower(word), w); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of letters to change, add or drop (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func orList(words []string) string {
	if n := len(words); n > 1 {
		return fmt.Sprintf("%s or %s", strings.Join(words[:n-1], ", "), words[n-1])
	}
	return strings.Join(words, "")
}
