package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
)

func TestOwnEnvironment(t *testing.T) {
	got := ownEnvironment([]string{"PATH=/bin", "SLOTFERRY_SOURCE_PASSWORD=x", "HOME=/"})
	if want := []string{"PATH=/bin", "HOME=/"}; !slices.Equal(got, want) {
		t.Errorf("ownEnvironment = %q, want %q", got, want)
	}
}

// Both sides are named as they are reached, and passwords stay out of sight.
func TestArguments(t *testing.T) {
	live := ends{source: "h:1", live: true, seeds: []string{"p:2", "q:3"}, addressMap: []string{"a:2=p:2", "b:3=q:3"}}
	file := ends{source: "/d/x.rdb", seeds: []string{"p:2"}}
	tl := tool{sourcePassword: "/s", targetPassword: "/t"}
	for _, tc := range []struct {
		name string
		e    ends
		want string
	}{
		{"live, mapped", live, "--target redis://p:2,q:3 --target-password-file /t --address-map a:2=p:2 --address-map b:3=q:3 " +
			"--source redis://h:1 --source-password-file /s"},
		{"file", file, "--target redis://p:2 --target-password-file /t --source /d/x.rdb"},
	} {
		if got := strings.Join(tl.arguments(tc.e), " "); got != tc.want {
			t.Errorf("%s: arguments = %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestDirect(t *testing.T) {
	src := &source{server: &sandbox.Server{Addr: "h:1"}, rdb: "x.rdb"}
	to := &target{cluster: &sandbox.Cluster{Nodes: []*sandbox.Server{{Addr: "m:1"}, {Addr: "m:2"}}}}
	if e := direct(viaScan, src, to); e.source != "h:1" || !e.live || !slices.Equal(e.seeds, []string{"m:1", "m:2"}) {
		t.Errorf("direct by scan = %+v", e)
	}
	if e := direct(viaSync, src, to); e.source != "h:1" || !e.live {
		t.Errorf("direct by sync = %+v", e)
	}
	if e := direct(viaRDB, src, to); e.source != "x.rdb" || e.live {
		t.Errorf("direct by rdb = %+v", e)
	}
}
