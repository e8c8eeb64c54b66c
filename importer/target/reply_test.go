package target

import (
	"testing"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		line string
		want verdict
	}{
		{"MOVED 3999 127.0.0.1:6381", moved},
		{"ASK 3999 127.0.0.1:6381", ask},
		{"TRYAGAIN Multiple keys request during rehashing of slot", pause},
		{"CLUSTERDOWN Hash slot not served", pause},
		{"CLUSTERDOWN The cluster is down", pause},
		{"LOADING Redis is loading the dataset in memory", pause},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", pause},
		{"READONLY You can't write against a read only replica.", pause},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", pause},
		{"OOM command not allowed when used memory > 'maxmemory'.", pause},
		{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", pause},
		{"NOREPLICAS Not enough good replicas to write.", pause},
		{"ERR max number of clients reached", pause},
		{"BUSYKEY Target key name already exists.", busyKey},
		{"ERR Bad data format", badValue},
		{"ERR DUMP payload version or checksum are wrong", badValue},
		{"NOPERM this user has no permissions to run the 'restore' command", forbidden},
		{"NOAUTH Authentication required.", forbidden},
		{"WRONGPASS invalid username-password pair or user is disabled.", forbidden},
		{"DENIED Redis is running in protected mode", forbidden},
		{"ERR unknown command 'RESTORE', with args beginning with: 'a' ", forbidden},
		{"ERR Invalid TTL value, must be >= 0", failKey},
		{"ERR Protocol error: invalid bulk length", failKey},
		{"MOVEDALONG", failKey},
		{"err bad data format", failKey},
		{"", failKey},
	} {
		if got := classify([]byte(tc.line)); got != tc.want {
			t.Errorf("classify(%q) = %d, want %d", tc.line, got, tc.want)
		}
	}
}

func TestRedirection(t *testing.T) {
	const from = "10.0.0.7:7000"
	for _, tc := range []struct {
		line string
		slot uint16
		addr string // "" for not understood
	}{
		{"MOVED 3999 127.0.0.1:6381", 3999, "127.0.0.1:6381"},
		{"ASK 0 node-1.example:6379", 0, "node-1.example:6379"},
		{"MOVED 16383 ::1:7001", 16383, "[::1]:7001"},
		{"MOVED 1 2001:db8::5:7001", 1, "[2001:db8::5]:7001"},
		{"MOVED 5 :7002", 5, "10.0.0.7:7002"},
		{"MOVED 5 ?:7002", 5, "10.0.0.7:7002"},
		{"MOVED 16384 127.0.0.1:6381", 0, ""},
		{"MOVED -1 127.0.0.1:6381", 0, ""},
		{"MOVED 1 127.0.0.1:0", 0, ""},
		{"MOVED 1 127.0.0.1:65536", 0, ""},
		{"MOVED 1 127.0.0.1", 0, ""},
		{"MOVED 1", 0, ""},
		{"MOVED 1 127.0.0.1:6381 more", 0, ""},
		{"MOVED x 127.0.0.1:6381", 0, ""},
	} {
		slot, addr, ok := redirection([]byte(tc.line), from)
		if ok != (tc.addr != "") || addr != tc.addr || slot != tc.slot {
			t.Errorf("redirection(%q) = %d, %q, %t", tc.line, slot, addr, ok)
		}
	}
}
