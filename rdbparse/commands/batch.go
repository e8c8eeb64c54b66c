package commands

// batch puts elements into commands of the same words otherwise. Those
// that are gathered are copied, so that what they were read into can be used
// again; one that fills a command alone is not.
type batch struct {
	w        *writer
	head     [][]byte
	tail     [][]byte
	fixed    int                     // bytes of head and tail
	sent     func(elements [][]byte) // called after each command
	arena    []byte
	ends     []int
	elements int
	words    [][]byte
	command  [][]byte
}

// batch begins commands with name and the key.
func (w *writer) batch(name string) *batch {
	b := &batch{w: w, arena: []byte{}}
	b.around([][]byte{[]byte(name), w.key}, nil)
	return b
}

// around says between which words the elements of the commands to come stand.
func (b *batch) around(head, tail [][]byte) {
	b.head, b.tail, b.fixed = head, tail, 0
	for _, words := range [][][]byte{head, tail} {
		for _, word := range words {
			b.fixed += len(word)
		}
	}
}

// add adds one element of one or more words.
func (b *batch) add(words ...[]byte) {
	b.makeRoom(words)
	b.put(words)
}

func (b *batch) length(words [][]byte) int {
	n := b.fixed
	for _, word := range words {
		n += len(word)
	}
	return n
}

// makeRoom sends what is gathered if the words don't fit in the same command.
func (b *batch) makeRoom(words [][]byte) {
	if b.length(words) > b.w.options.MaxBytes-len(b.arena) || b.elements >= b.w.options.MaxElements {
		b.flush()
	}
}

// put adds what there is room for; what there never is goes alone.
func (b *batch) put(words [][]byte) {
	if b.length(words) > b.w.options.MaxBytes {
		b.words = append(b.words[:0], words...)
		b.send(b.words)
		return
	}
	for _, word := range words {
		b.arena = append(b.arena, word...)
		b.ends = append(b.ends, len(b.arena))
	}
	b.elements++
}

// flush sends what is gathered.
func (b *batch) flush() {
	if b.elements == 0 {
		return
	}
	words, from := b.words[:0], 0
	for _, end := range b.ends {
		words = append(words, b.arena[from:end:end])
		from = end
	}
	b.words = words
	b.arena, b.ends, b.elements = b.arena[:0], b.ends[:0], 0
	b.send(words)
}

func (b *batch) send(elements [][]byte) {
	b.command = append(append(append(b.command[:0], b.head...), elements...), b.tail...)
	b.w.do(b.command...)
	if b.sent != nil && b.w.err == nil {
		b.sent(elements)
	}
}
