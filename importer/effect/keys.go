package effect

// counted reads keys whose number stands in a word, and which follow it.
func counted(at int) func([][]byte, *Effect) bool {
	return func(words [][]byte, e *Effect) bool { return e.count(words, at, 1) }
}

// count adds as many keys as a word says, one every step words behind it.
func (e *Effect) count(words [][]byte, at, step int) bool {
	n, ok := number(words[at])
	if !ok || n < 0 || n > int64((len(words)-at-1)/step) || n == 0 && e.Kind != Script {
		return false
	}
	for i := range int(n) {
		e.Keys = append(e.Keys, at+1+i*step)
	}
	return true
}

// readStore reads the sources behind a destination.
func readStore(words [][]byte, e *Effect) bool { return e.count(words, 2, 1) }

func readGroup(words [][]byte, e *Effect) bool {
	if is(words[1], "HELP") {
		e.Kind = Nothing
		return true
	}
	if len(words) < 4 {
		return false
	}
	e.Keys = append(e.Keys, 2)
	return true
}

// readReadGroup reads XREADGROUP GROUP group consumer [options] STREAMS key … id ….
func readReadGroup(words [][]byte, e *Effect) bool {
	for i := 4; i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "COUNT"), is(w, "BLOCK"), is(w, "CLAIM"):
			i++
		case is(w, "NOACK"):
		case is(w, "STREAMS"):
			n := len(words) - i - 1
			if n == 0 || n%2 != 0 {
				return false
			}
			for k := range n / 2 {
				e.Keys = append(e.Keys, i+1+k)
			}
			return true
		default:
			return false
		}
	}
	return false
}

// readSort looks for a destination, and for patterns that name further keys.
func readSort(words [][]byte, e *Effect) bool {
	store := 0
	for i := 2; i < len(words); i++ {
		left := len(words) - i - 1
		switch w := words[i]; {
		case is(w, "ASC"), is(w, "DESC"), is(w, "ALPHA"):
		case is(w, "LIMIT") && left >= 2:
			i += 2
		case is(w, "BY") && left >= 1: // a pattern without a star only says not to sort
			i++
			e.Reread = e.Reread || hasStar(words[i])
		case is(w, "GET") && left >= 1: // "#" is the element itself
			i++
			e.Reread = e.Reread || hasStar(words[i])
		case is(w, "STORE") && left >= 1:
			i++
			store = i
		default:
			return false
		}
	}
	if store == 0 {
		e.Kind, e.Keys, e.Reread = Nothing, e.Keys[:0], false
		return true
	}
	e.Keys = append(e.Keys, store)
	return true
}

func hasStar(pattern []byte) bool {
	for _, c := range pattern {
		if c == '*' {
			return true
		}
	}
	return false
}

// readRadius looks for destinations among the options, which begin at a word. If
// there are two, only the last one is written, but servers look at both.
func readRadius(options int) func([][]byte, *Effect) bool {
	return func(words [][]byte, e *Effect) bool {
		for i := options; i < len(words); i++ {
			if (is(words[i], "STORE") || is(words[i], "STOREDIST")) && i+1 < len(words) {
				i++
				e.Keys = append(e.Keys, i)
			}
		}
		if len(e.Keys) == 1 {
			e.Kind, e.Keys = Nothing, e.Keys[:0]
		}
		return true
	}
}

// readMigrate reads MIGRATE host port key|"" db timeout [options] [KEYS key …].
func readMigrate(words [][]byte, e *Effect) bool {
	e.Reread = true // it is not to be run a second time
	if len(words[3]) > 0 {
		e.Keys = append(e.Keys, 3)
		return true
	}
	for i := 6; i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "AUTH"):
			i++
		case is(w, "AUTH2"):
			i += 2
		case is(w, "KEYS"):
			for k := i + 1; k < len(words); k++ {
				e.Keys = append(e.Keys, k)
			}
			return len(e.Keys) > 0
		}
	}
	return false
}

func readCopy(words [][]byte, e *Effect) bool {
	for i := 3; i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "REPLACE"):
		case is(w, "DB") && i+1 < len(words):
			i++
			if !database(words[i], &e.DB2) {
				return false
			}
			e.Reread = true
		default:
			return false
		}
	}
	return true
}

func readMove(words [][]byte, e *Effect) bool {
	e.Reread = true
	return database(words[2], &e.DB2)
}

func readSelect(words [][]byte, e *Effect) bool { return database(words[1], &e.DB) }

func readSwap(words [][]byte, e *Effect) bool {
	return database(words[1], &e.DB) && database(words[2], &e.DB2)
}

func database(word []byte, db *int) bool {
	n, ok := number(word)
	if !ok || n < 0 || n > 1<<31-1 {
		return false
	}
	*db = int(n)
	return true
}

// readProgram tells the subcommands that change code from those that ask.
func readProgram(changes ...string) func([][]byte, *Effect) bool {
	return func(words [][]byte, e *Effect) bool {
		for _, c := range changes {
			if is(words[1], c) {
				return true
			}
		}
		e.Kind = Nothing
		return true
	}
}
