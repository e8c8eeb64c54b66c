package sandbox_test

import (
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// wantGone can't be asked here.
func wantGone(*testing.T, int) {}
