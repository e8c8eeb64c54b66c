package main

import "testing"

// Every distance is compared with one that differs from it in one thing.
func TestDistances(t *testing.T) {
	for i, d := range distances {
		base := distances[d.base]
		switch {
		case base.via != d.via:
			t.Errorf("%d: %s is compared with %s", i, d, base)
		case d.delay > 0 && (base.delay != 0 || base.source != d.source || base.target != d.target):
			t.Errorf("%d: %s is compared with %s, not with the same without delay", i, d, base)
		case d.delay == 0 && (base.source || base.target):
			t.Errorf("%d: %s is compared with %s, not with no proxy", i, d, base)
		case (d.goal > 0) != (d.delay > 0):
			t.Errorf("%d: %s has the goal %v", i, d, d.goal)
		}
		if d.source && d.via != viaScan {
			t.Errorf("%d: %s: there is no proxy before a file", i, d)
		}
	}
}
