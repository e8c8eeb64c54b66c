package effect

import "math"

// readExpire reads EXPIRE key seconds, and its relatives for fields.
func readExpire(words [][]byte, e *Effect) bool {
	name := e.Name
	if name[0] == 'H' {
		name = name[1:]
	}
	e.expiry = expiry{value: 2, seconds: name[0] != 'P'}
	e.Relative = name[len(name)-1] != 'T'
	return true
}

// readSetEX reads SETEX and PSETEX key time value.
func readSetEX(_ [][]byte, e *Effect) bool {
	e.expiry = expiry{value: 2, seconds: e.Name[0] != 'P'}
	e.Relative, e.Blind = true, true
	return true
}

func readSet(words [][]byte, e *Effect) bool {
	e.Blind = true
	for i := 3; i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "NX"), is(w, "XX"), is(w, "GET"), is(w, "KEEPTTL"):
			e.Blind = false
		case is(w, "IFEQ"), is(w, "IFNE"), is(w, "IFDEQ"), is(w, "IFDNE"):
			e.Blind = false
			if i++; i == len(words) {
				return false
			}
		case e.expiryOption(words, i):
			i++
		default:
			return false
		}
	}
	return true
}

func readGetEX(words [][]byte, e *Effect) bool {
	for i := 2; i < len(words); i++ {
		switch {
		case is(words[i], "PERSIST"):
		case e.expiryOption(words, i):
			i++
		default:
			return false
		}
	}
	return true
}

// readMSetEX reads MSETEX numkeys key value … [NX|XX] [expiry].
func readMSetEX(words [][]byte, e *Effect) bool {
	if !e.count(words, 1, 2) {
		return false
	}
	e.Blind = true
	for i := 2 + 2*len(e.Keys); i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "NX"), is(w, "XX"), is(w, "KEEPTTL"):
			e.Blind = false
		case e.expiryOption(words, i):
			i++
		default:
			return false
		}
	}
	return true
}

// readFieldsEX reads HSETEX and HGETEX key [condition] [expiry] FIELDS n field ….
func readFieldsEX(words [][]byte, e *Effect) bool {
	perField := 1
	if e.Name == "HSETEX" {
		perField = 2
	}
	fields := false
	for i := 2; i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "FNX"), is(w, "FXX"), is(w, "NX"), is(w, "XX"), is(w, "KEEPTTL"), is(w, "PERSIST"):
		case is(w, "FIELDS") && i+1 < len(words):
			n, ok := number(words[i+1])
			if !ok || n < 1 || n > int64((len(words)-i-2)/perField) {
				return false
			}
			i += 1 + int(n)*perField
			fields = true
		case e.expiryOption(words, i):
			i++
		default:
			return false
		}
	}
	return fields
}

// readRestore reads RESTORE key ttl payload [options].
func readRestore(words [][]byte, e *Effect) bool {
	e.Relative = true
	for i := 4; i < len(words); i++ {
		switch w := words[i]; {
		case is(w, "REPLACE"):
			e.Blind = true
		case is(w, "ABSTTL"):
			e.Relative = false
		case is(w, "IDLETIME"), is(w, "FREQ"):
			i++
		default:
			return false
		}
	}
	ttl, ok := number(words[2])
	if !ok || ttl < 0 {
		return false
	}
	if ttl == 0 {
		e.Relative = false
		return true
	}
	e.expiry.value = 2
	return true
}

// expiryOption notes EX, PX, EXAT or PXAT and the number behind it.
func (e *Effect) expiryOption(words [][]byte, i int) bool {
	if i+1 >= len(words) {
		return false
	}
	w := words[i]
	switch {
	case is(w, "EX"):
		e.expiry.seconds, e.Relative = true, true
	case is(w, "PX"):
		e.expiry.seconds, e.Relative = false, true
	case is(w, "EXAT"):
		e.expiry.seconds, e.Relative = true, false
	case is(w, "PXAT"):
		e.expiry.seconds, e.Relative = false, false
	default:
		return false
	}
	e.expiry.option, e.expiry.value = i, i+1
	return true
}

// readExpiry makes ExpireAt of the number that was noted.
func (e *Effect) readExpiry(words [][]byte, now int64) bool {
	n, ok := number(words[e.expiry.value])
	if !ok {
		return false
	}
	if e.expiry.seconds {
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return false
		}
		n *= 1000
	}
	if e.Relative {
		if n > 0 && now > math.MaxInt64-n || n < 0 && now < math.MinInt64-n {
			return false
		}
		n += now
	}
	e.ExpireAt = max(n, 1)
	return true
}
