package rdbparse

// stream passes over a stream as revision 1 to 5 of the format has it (types
// 15, 19, 21, 26 and 27): L n, n × (S id, S listpack), numbers, groups.
func (w *window) stream(revision int) error {
	if err := w.strings(2, 0); err != nil {
		return err
	}
	numbers := 3 // entries, last id
	if revision >= 2 {
		numbers += 5 // first id, highest deleted id, entries ever added
	}
	if err := w.lengths(numbers); err != nil {
		return err
	}
	groups, err := w.count(1)
	for ; err == nil && groups > 0; groups-- {
		err = w.streamGroup(revision)
	}
	if err == nil && revision >= 4 {
		err = w.streamProducers()
	}
	return err
}

func (w *window) streamGroup(revision int) error {
	if err := w.nStrings(1, 0); err != nil { // name
		return err
	}
	numbers := 2 // last id
	if revision >= 2 {
		numbers++ // entries read
	}
	if err := w.lengths(numbers); err != nil {
		return err
	}
	pending, err := w.count(1)
	for ; err == nil && pending > 0; pending-- {
		if err = w.skip(16 + 8); err == nil { // id, time of delivery
			err = w.lengths(1) // deliveries
		}
	}
	if err != nil {
		return err
	}
	consumers, err := w.count(1)
	for ; err == nil && consumers > 0; consumers-- {
		err = w.streamConsumer(revision)
	}
	if err == nil && revision >= 5 {
		err = w.ids() // given back by their consumer
	}
	return err
}

func (w *window) streamConsumer(revision int) error {
	if err := w.nStrings(1, 0); err != nil { // name
		return err
	}
	times := uint64(8) // last seen
	if revision >= 3 {
		times += 8 // last active
	}
	if err := w.skip(times); err != nil {
		return err
	}
	return w.ids()
}

// ids passes over L n, n × 16 bytes.
func (w *window) ids() error {
	n, err := w.count(16)
	if err != nil {
		return err
	}
	return w.skip(n)
}

// streamProducers passes over what Redis 8.6 keeps to add no entry twice:
// 2 L limits; L n, n × (S producer, L n, n × (S idempotence id, 2 L entry id));
// 2 L counters. Seen in what its DUMP gives after XADD with IDMP.
func (w *window) streamProducers() error {
	if err := w.lengths(2); err != nil {
		return err
	}
	producers, err := w.count(1)
	for ; err == nil && producers > 0; producers-- {
		if err = w.nStrings(1, 0); err != nil {
			return err
		}
		var known uint64
		known, err = w.count(1)
		for ; err == nil && known > 0; known-- {
			if err = w.nStrings(1, 0); err == nil {
				err = w.lengths(2)
			}
		}
	}
	if err != nil {
		return err
	}
	return w.lengths(2)
}
