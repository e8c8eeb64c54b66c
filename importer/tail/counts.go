package tail

import "sync/atomic"

// Counts is the account of the commands of a stream.
type Counts struct {
	Commands     int64 `json:"commands"`     // taken, those without an effect on keys left out
	Applied      int64 `json:"applied"`      // answered by a master; a part of a command that was split counts as one
	In           int64 `json:"already_in"`   // not sent: an earlier run had applied them, or a value read later has them
	Split        int64 `json:"split"`        // run as several commands
	Reread       int64 `json:"reread"`       // keys that were read from the source again
	Transactions int64 `json:"transactions"` // of the source
	Torn         int64 `json:"torn"`         // of these, applied in parts: over several slots, or with keys read again
	Filtered     int64 `json:"filtered"`     // left out by the choice of keys
	Scripts      int64 `json:"scripts"`      // of which only the declared keys are known
	Refused      int64 `json:"refused"`      // that the target took as wrong, so that their keys were read again
	Failed       int64 `json:"failed"`       // keys that are not as in the source
	Blocks       int64 `json:"blocks"`       // transactions sent to the target and applied
	Held         int64 `json:"held"`         // times that a slot had to wait for the target
	Lost         int64 `json:"lost"`         // connections
	Redirected   int64 `json:"redirected"`   // blocks that went to another master
}

// counters are Counts that any goroutine may read.
type counters struct {
	commands, applied, in, split, reread, transactions, torn, filtered, scripts, refused, failed,
	blocks, held, lost, redirected atomic.Int64
}

// Counts returns the numbers up to now.
func (a *Applier) Counts() Counts {
	n := &a.count
	return Counts{
		Commands: n.commands.Load(), Applied: n.applied.Load(), In: n.in.Load(), Split: n.split.Load(), Reread: n.reread.Load(),
		Transactions: n.transactions.Load(), Torn: n.torn.Load(), Filtered: n.filtered.Load(), Scripts: n.scripts.Load(),
		Refused: n.refused.Load(), Failed: n.failed.Load(), Blocks: n.blocks.Load(), Held: n.held.Load(), Lost: n.lost.Load(),
		Redirected: n.redirected.Load(),
	}
}
