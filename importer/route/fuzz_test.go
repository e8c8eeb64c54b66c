package route

import (
	"bytes"
	"net"
	"testing"
)

// naiveSlot follows the words of the cluster specification, a bit at a time.
func naiveSlot(key []byte) uint16 {
	if _, behind, ok := bytes.Cut(key, []byte("{")); ok {
		if tag, _, closed := bytes.Cut(behind, []byte("}")); closed && len(tag) > 0 {
			key = tag
		}
	}
	var crc uint16
	for _, b := range key {
		for bit := 7; bit >= 0; bit-- {
			top := crc >> 15
			crc <<= 1
			if top != uint16(b>>bit&1) {
				crc ^= 0x1021
			}
		}
	}
	return crc % 16384
}

func FuzzSlot(f *testing.F) {
	for _, key := range []string{"", "foo", "x{foo}y", "{}foo", "123456789", "{foo}{bar}", "{foo}}", "a{{b}}", "}{", "{\x00}"} {
		f.Add([]byte(key))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if got, want := Slot(key), naiveSlot(key); got != want {
			t.Errorf("Slot(%q) = %d, want %d", key, got, want)
		}
	})
}

// FuzzDial maps an announced address: what is not mapped stays, and a host that
// is mapped to a host keeps its port.
func FuzzDial(f *testing.F) {
	for _, m := range [][3]string{
		{"10.0.0.7", "nat.example", "10.0.0.7:7001"}, {"10.0.0.7:7001", "nat.example:17001", "10.0.0.7:7001"},
		{"2001:db8::5", "::1", "[2001:db8::5]:7001"}, {"h", "[::1]:1", "h:2"}, {"", "x", ":7001"}, {"h:1", "x", "h"},
	} {
		f.Add(m[0], m[1], m[2])
	}
	f.Fuzz(func(t *testing.T, from, to, announced string) {
		got := AddressMap{from: to}.Dial(announced)
		host, port, err := net.SplitHostPort(announced)
		if announced != from && (err != nil || host != from) {
			if got != announced {
				t.Errorf("%q is dialled as %q", announced, got)
			}
			return
		}
		if _, _, toErr := net.SplitHostPort(to); toErr == nil {
			if got != to {
				t.Errorf("%q is dialled as %q instead of %q", announced, got, to)
			}
		} else if err == nil && !bytes.HasSuffix([]byte(got), []byte(":"+port)) {
			t.Errorf("%q is dialled as %q, without its port", announced, got)
		}
	})
}
