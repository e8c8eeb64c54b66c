package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/rdbparse"
)

// text is the DUMP payload of a string, set that of a set as a hash table.
func text(s string) string {
	return string(rdbparse.AppendPayload(nil, 0, append([]byte{byte(len(s))}, s...), 10))
}

func set(members ...string) string {
	body := []byte{byte(len(members))}
	for _, m := range members {
		body = append(append(body, byte(len(m))), m...)
	}
	return string(rdbparse.AppendPayload(nil, 2, body, 10))
}

func TestComparison(t *testing.T) {
	const now = 1000
	all := truth{
		"plain": {text("v"), never}, "set": {set("a", "b"), never}, "later": {text("v"), now + 1}, "gone": {text("v"), now},
	}
	type find struct {
		addr, key string
		value
	}
	right := []find{{"m1", "plain", all["plain"]}, {"m2", "set", all["set"]}, {"m1", "later", all["later"]}}
	for name, tc := range map[string]struct {
		found []find
		want  []string // a part of each difference
	}{
		"all right":             {right, nil},
		"twice from one master": {append(right[:3:3], right[0]), nil},
		"another order":         {append(right[:1:1], right[2], find{"m2", "set", value{set("b", "a"), never}}), nil},
		"missing":               {right[1:], []string{`"plain" is missing`}},
		"extra":                 {append(right[:3:3], find{"m1", "slotferry:{job}:lock", all["plain"]}), []string{"is not in the source"}},
		"on two masters":        {append(right[:3:3], find{"m2", "plain", all["plain"]}), []string{"on m1 and on m2"}},
		"another value":         {append(right[1:3:3], find{"m1", "plain", value{text("w"), never}}), []string{`"plain" on m1: byte 1`}},
		"another type":          {append(right[1:3:3], find{"m1", "plain", value{set("v"), never}}), []string{"type set, want string"}},
		"a member more":         {append(right[:1:1], right[2], find{"m2", "set", value{set("a", "b", "c"), never}}), []string{"member"}},
		"a damaged value":       {append(right[1:3:3], find{"m1", "plain", value{"x", never}}), []string{"can't be decoded"}},
		"another expiry":        {append(right[:2:2], find{"m1", "later", value{text("v"), now + 2}}), []string{"expiry 1002, not 1001"}},
		"an expiry too many":    {append(right[1:3:3], find{"m1", "plain", value{text("v"), now + 5}}), []string{"expiry 1005, not -1"}},
		"no expiry":             {append(right[:2:2], find{"m1", "later", value{text("v"), never}}), []string{"expiry -1, not 1001"}},
		"back from the dead":    {append(right[:3:3], find{"m1", "gone", value{text("v"), never}}), []string{"should have expired"}},
		"nothing":               {nil, []string{`"later" is missing`, `"plain" is missing`, `"set" is missing`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newComparison(all, rdbparse.Redis, now)
			for _, f := range tc.found {
				c.found(f.addr, f.key, f.value)
			}
			c.rest(now)
			if !slices.EqualFunc(c.wrong, tc.want, strings.Contains) {
				t.Errorf("differences %q, want %q", c.wrong, tc.want)
			}
		})
	}
}

// TestExpiresMeanwhile lets a key expire while the masters are read: it may be
// there or not, and with slots on their way a little later than in the source.
func TestExpiresMeanwhile(t *testing.T) {
	const now, slack, end = 1000, 10, 2000
	for name, tc := range map[string]struct {
		expireAt, got int64 // got 0: not there
		want          string
	}{
		"there":              {1500, 1500, ""},
		"gone":               {1500, 0, ""},
		"there a bit late":   {995, 1003, ""},
		"there far too late": {980, 1003, "should have expired"},
		"gone too early":     {2100, 0, "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newComparison(truth{"k": {text("v"), tc.expireAt}}, rdbparse.Redis, now)
			c.slack = slack
			if tc.got != 0 {
				c.found("m1", "k", value{text("v"), tc.got})
			}
			c.rest(end)
			if got := strings.Join(c.wrong, "; "); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("differences %q, want %q", got, tc.want)
			}
		})
	}
}

func TestFoundCountsEachMastersKeysOnce(t *testing.T) {
	c := newComparison(truth{}, rdbparse.Redis, 0)
	for i, want := range []bool{true, false, true} {
		addr := []string{"m1", "m1", "m2"}[i]
		if got := c.found(addr, "k", value{}); got != want {
			t.Errorf("find %d on %s: %v, want %v", i, addr, got, want)
		}
	}
}
