package target

import (
	"slices"
	"strings"
	"testing"
)

func TestParseReplication(t *testing.T) {
	for _, tc := range []struct {
		name, info string
		ok         bool
		offset     int64
		replicas   []int64
	}{
		{"two of three online", "role:master\nconnected_slaves:3\n" +
			"slave0:ip=127.0.0.1,port=1,state=online,offset=90,lag=1\nslave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\n" +
			"slave2:ip=127.0.0.1,port=3,state=online,offset=100,lag=0,type=replica\nmaster_repl_offset:120\n", true, 120, []int64{90, 100}},
		{"none", "role:master\nconnected_slaves:0\nmaster_repl_offset:7\n", true, 7, nil},
		{"a replica", "role:slave\nmaster_repl_offset:7\n", false, 0, nil},
		{"no offset", "role:master\n", false, 0, nil},
		{"nonsense", "role:master\nmaster_repl_offset:1\nslave0:,,=,state,offset=x\n", true, 1, nil},
	} {
		r, ok := parseReplication(strings.ReplaceAll(tc.info, "\n", "\r\n"))
		if ok != tc.ok || ok && (r.offset != tc.offset || !slices.Equal(r.replicas, tc.replicas)) {
			t.Errorf("%s: %+v, %v", tc.name, r, ok)
		}
	}
}

func FuzzParseReplication(f *testing.F) {
	f.Add("role:master\r\nslave0:state=online,offset=5\r\nmaster_repl_offset:9\r\n")
	f.Fuzz(func(t *testing.T, info string) {
		if r, ok := parseReplication(info); !ok && len(r.replicas) > 0 {
			t.Errorf("replicas of no master: %+v", r)
		}
	})
}
