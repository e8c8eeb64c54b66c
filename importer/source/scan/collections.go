package scan

import (
	"strconv"
)

const (
	scanCount = 4096  // elements asked for at once where a table is searched for them: about 2 ms of the server
	listCount = 10000 // where they lie side by side
)

// text reads a string: SET, then APPEND.
func (b *builder) text() error {
	asked := 0
	more := func() error {
		b.ask("GETRANGE", b.key, asked, asked+partBytes-1)
		asked += partBytes
		return b.send()
	}
	if err := more(); err != nil {
		return err
	}
	command := "SET"
	for last := false; !last; {
		if err := more(); err != nil {
			return err
		}
		b.batch.begin(command, b.name)
		b.unit = 0
		part, err := b.word("GETRANGE")
		if err != nil {
			return err
		}
		last = len(part) < partBytes
		if len(part) > 0 || command == "SET" {
			b.batch.words = append(b.batch.words, part)
			if err := b.flush(); err != nil {
				return err
			}
		}
		command = "APPEND"
	}
	return b.skip() // the part behind the end
}

// list reads a list from its head: RPUSH. The server finds the beginning of a
// part from the nearer end, node by node.
func (b *builder) list() error {
	b.batch.begin("RPUSH", b.name)
	start, sent := 0, [2]int{} // elements asked for by the two commands on their way
	more := func() error {
		n, err := b.count(listCount)
		if err != nil {
			return err
		}
		b.ask("LRANGE", b.key, start, start+n-1)
		start += n
		sent[0], sent[1] = sent[1], n
		return b.send()
	}
	if err := more(); err != nil {
		return err
	}
	for {
		if err := more(); err != nil {
			return err
		}
		n, bytes, err := b.eachElement("LRANGE", func() error {
			return b.take("LRANGE")
		})
		if err != nil {
			return err
		}
		b.part(n, bytes)
		if n < int64(sent[0]) {
			break
		}
	}
	if err := b.skip(); err != nil { // the part behind the end
		return err
	}
	return b.flush()
}

// take reads one word into the batch.
func (b *builder) take(command string) error {
	word, err := b.word(command)
	if err == nil {
		b.batch.words = append(b.batch.words, word)
	}
	return err
}

// eachElement reads an array unit by unit, and hands the batch on when it is
// full: what comes may be far more than what was asked for.
func (b *builder) eachElement(command string, take func() error) (n, bytes int64, err error) {
	total, err := b.elements(command)
	if err != nil {
		return 0, 0, err
	}
	for left := total; left > 0; n++ {
		if b.batch.full() {
			if err := b.flush(); err != nil {
				return n, bytes, err
			}
		}
		b.unit = 0
		before := len(b.batch.words)
		if err := take(); err != nil {
			return n, bytes, err
		}
		if left -= int64(len(b.batch.words) - before); left < 0 {
			return n, bytes, b.odd(command)
		}
		bytes += b.unit
	}
	return n, bytes, nil
}

func (b *builder) set() error {
	b.batch.begin("SADD", b.name)
	return b.search("SSCAN", func() error { return b.take("SSCAN") })
}

// zset reads scores as text of 17 digits, or as many as tell them apart.
func (b *builder) zset() error {
	b.batch.begin("ZADD", b.name)
	return b.search("ZSCAN", func() error {
		member, err := b.word("ZSCAN")
		if err != nil {
			return err
		}
		score, err := b.word("ZSCAN")
		b.batch.words = append(b.batch.words, score, member)
		return err
	})
}

// search reads a collection by a command like SCAN. It may give an element
// twice, and never leaves one out that is there all the time. The cursor stands
// before the elements, so that the next part is asked for before this one is
// read.
func (b *builder) search(command string, take func() error) error {
	cursor := "0"
	more := func() error {
		n, err := b.count(scanCount)
		if err != nil {
			return err
		}
		b.ask(command, b.key, cursor, "COUNT", n)
		return b.send()
	}
	if err := more(); err != nil {
		return err
	}
	for {
		if err := b.fields(2, command); err != nil {
			return err
		}
		next, err := b.small(command, numberMax)
		if err != nil {
			return err
		}
		if _, err := strconv.ParseUint(string(next), 10, 64); err != nil {
			return b.odd(command)
		}
		cursor = string(next)
		if cursor != "0" {
			if err := more(); err != nil {
				return err
			}
		}
		n, bytes, err := b.eachElement(command, take)
		if err != nil {
			return err
		}
		b.part(n, bytes)
		if cursor == "0" {
			return b.flush()
		}
	}
}
