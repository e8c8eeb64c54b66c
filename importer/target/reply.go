package target

import (
	"bytes"
	"net"
	"strconv"
)

// verdict is what an error reply asks for.
type verdict uint8

const (
	failKey   verdict = iota // this key can't be written; the others go on
	moved                    // the slot has another owner
	ask                      // this key may be there already: ask that node once
	pause                    // not now: wait, look at the topology, send again
	busyKey                  // the key exists
	badValue                 // the target does not take the payload as it is
	forbidden                // credentials or rights are missing: stop
)

// classify reads the first word of an error reply. The words are those of
// Redis' and Valkey's sources; the cluster's own are described in
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
func classify(line []byte) verdict {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(word) {
	case "MOVED":
		return moved
	case "ASK":
		return ask
	case "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "BUSY",
		"OOM", "MISCONF", "NOREPLICAS":
		return pause
	case "BUSYKEY":
		return busyKey
	case "NOPERM", "NOAUTH", "WRONGPASS", "DENIED":
		return forbidden
	case "ERR":
		for _, e := range errs {
			if bytes.HasPrefix(rest, []byte(e.text)) {
				return e.means
			}
		}
	}
	return failKey
}

// errs are the replies with the word ERR that are not about one key only.
var errs = []struct {
	text  string
	means verdict
}{
	{"Bad data format", badValue},
	{"DUMP payload version or checksum", badValue},
	{"max number of clients", pause}, // said instead of the first answer; the connection ends
	{"unknown command", forbidden},   // RESTORE or ASKING was renamed
}

// redirection reads "MOVED 3999 127.0.0.1:6381" or "ASK …". Without a host
// (cluster-preferred-endpoint-type unknown-endpoint) the node is on the host
// that answered.
func redirection(line []byte, from string) (slot uint16, addr string, ok bool) {
	words := bytes.Fields(line)
	if len(words) != 3 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(string(words[1]), 10, 14)
	if err != nil {
		return 0, "", false
	}
	i := bytes.LastIndexByte(words[2], ':')
	if i < 0 {
		return 0, "", false
	}
	host, port := string(words[2][:i]), string(words[2][i+1:])
	if host == "" || host == "?" {
		if host, _, err = net.SplitHostPort(from); err != nil {
			return 0, "", false
		}
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return 0, "", false
	}
	return uint16(n), net.JoinHostPort(host, port), true
}
