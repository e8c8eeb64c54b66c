package effect

import "strconv"

// Absolute appends to dst what a command has to be replaced with so that it sets
// the same expiry whenever it is run: itself, if it sets none or an absolute
// one. What has an expiry relative to now becomes one command, or two where a
// target before 6.2 has none for both. The words are those of the command as far
// as they are the same.
func Absolute(words [][]byte, now int64, dst [][][]byte) [][][]byte {
	var e Effect
	if err := Of(words, now, &e); err != nil || !e.Relative {
		return append(dst, words)
	}
	at := strconv.AppendInt(nil, e.ExpireAt, 10)
	switch e.Name {
	case "EXPIRE", "PEXPIRE":
		return append(dst, renamed(words, "PEXPIREAT", at))
	case "HEXPIRE", "HPEXPIRE":
		return append(dst, renamed(words, "HPEXPIREAT", at))
	case "SETEX", "PSETEX":
		return append(dst, [][]byte{[]byte("SET"), words[1], words[3]}, expireAt(words[1], at))
	case "SET":
		option := e.expiry.option
		set := append(append([][]byte(nil), words[:option]...), words[option+2:]...)
		return append(dst, set, expireAt(words[1], at))
	case "GETEX":
		return append(dst, expireAt(words[1], at))
	case "RESTORE", "RESTORE-ASKING":
		restore := append(append([][]byte(nil), words...), []byte("ABSTTL"))
		restore[2] = at
		return append(dst, restore)
	}
	// HSETEX, HGETEX and MSETEX: the servers that have them know PXAT.
	option := append([][]byte(nil), words...)
	option[e.expiry.option], option[e.expiry.value] = []byte("PXAT"), at
	return append(dst, option)
}

func expireAt(key, at []byte) [][]byte { return [][]byte{[]byte("PEXPIREAT"), key, at} }

// renamed returns the command with another name and another third word.
func renamed(words [][]byte, name string, at []byte) [][]byte {
	out := append([][]byte(nil), words...)
	out[0], out[2] = []byte(name), at
	return out
}
