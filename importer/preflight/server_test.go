package preflight

import (
	"reflect"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

func TestKnowsType(t *testing.T) {
	s := Server{Modules: []string{"vectorset", "ReJSON"}}
	for name, want := range map[string]bool{"vectorset": true, "ReJSON-RL": true, "MBbloom--": false} {
		if got := s.KnowsType(name); got != want {
			t.Errorf("KnowsType(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestRedict(t *testing.T) {
	v := parseInfo("redict_version:7.3.6\nredis_version:7.2.4\n").Version
	if got := v.String(); got != "redict 7.3.6" || v.RDB() != 12 || !v.AtLeast(7, 0) {
		t.Errorf("%s writes RDB version %d", got, v.RDB())
	}
}

func TestParseInfo(t *testing.T) {
	for _, tc := range []struct {
		name, info string
		want       Server
	}{
		{"redis",
			"# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nconfig_file:/etc/a:b\r\n\r\n# Memory\r\nused_memory:100\r\nused_memory_dataset:60\r\nmaxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n" +
				"loading:1\r\nrole:master\r\n# Modules\r\nmodule:name=ReJSON,ver=20609,api=1\r\nmodule:name=bf,ver=1\r\ncluster_enabled:1\r\n# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=5\r\ndb15:keys=1,expires=0,avg_ttl=0\r\n",
			Server{
				Version: Version{"redis", 7, 0, 15}, RunID: "abc", Cluster: true, Role: "master", Loading: true, MaxMemory: 1000,
				Used: 100, Dataset: 60, Policy: "allkeys-lru", Keys: map[int]int64{0: 12, 15: 1}, Modules: []string{"ReJSON", "bf"},
			}},
		{"valkey says redis first",
			"redis_version:7.2.4\nserver_name:valkey\nvalkey_version:9.1.2\ncluster_enabled:0\nrole:slave\n",
			Server{Version: Version{"valkey", 9, 1, 2}, Role: "slave", Keys: map[int]int64{}}},
		{"a second version line does not count",
			"redis_version:6.2.1\r\nredis_version:9.9.9\r\n",
			Server{Version: Version{"redis", 6, 2, 1}, Keys: map[int]int64{}}},
		{"short version", "redis_version:8\r\n", Server{Version: Version{"redis", 8, 0, 0}, Keys: map[int]int64{}}},
		{"nothing", "", Server{Version: Version{Product: "redis"}, Keys: map[int]int64{}}},
		{"noise", "dbx:keys=1\r\ndb:keys=2\r\nno colon\r\nmaxmemory:many\r\ndb3:\r\n",
			Server{Version: Version{Product: "redis"}, Keys: map[int]int64{3: 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := parseInfo(tc.info); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	for _, tc := range []struct {
		v       Version
		rdb     int
		atLeast [][2]int
		below   [][2]int
	}{
		{Version{"redis", 5, 0, 14}, 9, [][2]int{{5, 0}, {4, 9}}, [][2]int{{6, 0}, {5, 1}}},
		{Version{"redis", 6, 0, 16}, 9, [][2]int{{6, 0}}, [][2]int{{6, 2}, {7, 0}}},
		{Version{"redis", 7, 0, 15}, 10, [][2]int{{7, 0}, {6, 2}}, [][2]int{{7, 2}}},
		{Version{"redis", 7, 2, 4}, 11, [][2]int{{7, 2}}, [][2]int{{7, 4}}},
		{Version{"redis", 7, 4, 0}, 12, [][2]int{{7, 4}}, [][2]int{{8, 0}}},
		{Version{"redis", 8, 0, 2}, 12, [][2]int{{7, 4}, {8, 0}}, [][2]int{{8, 2}}},
		{Version{"redis", 8, 6, 3}, 13, [][2]int{{8, 4}}, [][2]int{{9, 0}}},
		{Version{"valkey", 8, 0, 1}, 11, [][2]int{{7, 2}, {5, 0}}, [][2]int{{7, 4}, {8, 0}}},
		{Version{"valkey", 8, 1, 1}, 11, [][2]int{{7, 0}}, [][2]int{{8, 1}}},
		{Version{"valkey", 9, 1, 2}, 80, [][2]int{{7, 2}}, [][2]int{{7, 3}, {9, 0}}},
	} {
		if got := tc.v.RDB(); got != tc.rdb {
			t.Errorf("%s: RDB version %d, want %d", tc.v, got, tc.rdb)
		}
		for _, w := range tc.atLeast {
			if !tc.v.AtLeast(w[0], w[1]) {
				t.Errorf("%s is not at least %d.%d", tc.v, w[0], w[1])
			}
		}
		for _, w := range tc.below {
			if tc.v.AtLeast(w[0], w[1]) {
				t.Errorf("%s is at least %d.%d", tc.v, w[0], w[1])
			}
		}
	}
	if got := (Version{"valkey", 8, 1, 3}).String(); got != "valkey 8.1.3" {
		t.Errorf("String() = %q", got)
	}
}

func TestOldest(t *testing.T) {
	master := func(product string, major, minor int) Master {
		return Master{Server: Server{Version: Version{Product: product, Major: major, Minor: minor}}}
	}
	target := Target{Masters: []Master{master("redis", 8, 6), master("redis", 7, 0), master("redis", 7, 2)}}
	if got := target.Oldest().Version; got.Major != 7 || got.Minor != 0 {
		t.Errorf("oldest is %s", got)
	}
	if got := (Source{Keys: map[int]int64{0: 3, 9: 4}}).Total(); got != 7 {
		t.Errorf("Total() = %d", got)
	}
}

func TestLookAndDenied(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{Args: []string{"--maxmemory", "100mb"}})
	admin, ctx := server.Client(), t.Context()
	if err := admin.Set(ctx, "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(ctx, "ACL", "SETUSER", "reader", "on", ">pw", "~user:*", "+info", "+time", "+get", "+dump").Err(); err != nil {
		t.Fatal(err)
	}
	o := server.ClientOptions()
	o.Username, o.Password = "reader", "pw"
	client := redis.NewClient(o)
	defer client.Close()
	s, err := Look(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version.Major != server.Version.Major || s.RunID == "" || s.Role != "master" || s.Cluster || s.Loading ||
		s.MaxMemory != 100<<20 || s.Used == 0 || s.Keys[0] != 1 || s.Now.IsZero() {
		t.Errorf("%+v", s)
	}
	denied, onKey, err := Denied(ctx, client, []Probe{
		{"GET", []any{"GET", ProbeKey}}, {"DUMP", []any{"DUMP", "user:1"}}, {"DEL", []any{"DEL", "user:1"}}, {"SCAN", []any{"SCAN", "0"}},
	})
	if err != nil || !reflect.DeepEqual(denied, []string{"DEL", "SCAN"}) || !reflect.DeepEqual(onKey, []string{"GET"}) {
		t.Errorf("denied %q, for the key only %q, %v", denied, onKey, err)
	}
	server.Stop()
	if _, _, err := Denied(ctx, client, []Probe{{"GET", []any{"GET", "a"}}}); err == nil {
		t.Error("a server that is gone denies nothing")
	}
	if _, err := Look(ctx, client); err == nil {
		t.Error("a server that is gone was looked at")
	}
}
