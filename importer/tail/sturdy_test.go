package tail

import (
	"context"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/resp"
)

func TestIsSturdy(t *testing.T) {
	for command, want := range map[string]bool{
		"SET k v": true, "SET k v PXAT 1": false, "SET k v IFEQ w": false, "INCR k": true, "PEXPIREAT k 1": false,
		"ZADD k 1 m": true, "ZADD k -inf m": true, "ZADD k inf m": true, "ZADD k +1.5 m": true, "ZADD k GT 1 m": false, "ZADD k INCR 1 m": false,
		"ZADD k NX 1 m": false, "XADD k * f v": false, "HSETEX k FIELDS 1 f v": false, "RESTORE k 0 v": false,
	} {
		var words []word
		for text := range strings.FieldsSeq(command) {
			words = append(words, word(text))
		}
		if got := isSturdy(string(words[0]), words); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}

// TestRefusedAgain has a command refused whose key was read again before: that
// it must be so once more stays in the mark, though what the mark says of the key
// is about to be removed as of no more use.
func TestRefusedAgain(t *testing.T) {
	a := New(Options{Choice: all(t), Job: "again", Reread: func(context.Context, int, [][]byte, func(int, int64, *record.Record) error) error { return nil }})
	key := []byte("hash")
	slot := route.Slot(key)
	a.setAhead(0, key, 5)
	a.setAhead(0, []byte("{hash}:other"), 6)
	raw := resp.AppendCommand(nil, "HSET", "hash", "f", "v")
	e := &entry{page: &page{memory: raw}, to: uint32(len(raw)), slot: slot, serial: 7, words: 1}
	a.refuse(e, "unknown command")
	if wire, words := e.sent(); words != 1 || !strings.Contains(string(wire), "=0:hash") {
		t.Errorf("it is to be noted by %q", wire)
	}
	if left := a.stale[slot]; len(left) != 1 || left[0].field != "=0:{hash}:other" {
		t.Errorf("the fields %v are removed", left)
	}
}
