package verify

// KeepPending changes how many differences are kept for Settle.
func (c *Comparer) KeepPending(keys int) { c.pending.most = keys }

// UsePTTL asks as if a master were older than 7.0.
func (c *Comparer) UsePTTL() { c.pttl = true }
