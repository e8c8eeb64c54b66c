package commands

var streamRevisions = map[byte]int{
	typeStream: 1, typeStream2: 2, typeStream3: 3, typeStream4: 4, typeStream5: 5,
}

func (w *writer) stream(revision int) { w.refuse(ErrUnsupported) }
