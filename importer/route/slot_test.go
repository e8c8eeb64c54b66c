package route

import (
	"math/rand/v2"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

func TestSlot(t *testing.T) {
	for _, tc := range []struct {
		name, key string
		want      uint16
	}{
		{"whole key", "foo", 12182},
		{"tag only", "x{foo}y", 12182},
		{"empty tag is no tag", "{}foo", 9500},
		{"the specification's check value", "123456789", 0x31c3},
		{"no key", "", 0},
		{"the first tag of two", "{foo}{bar}", 12182},
		{"a tag up to the first end", "{foo}}", 12182},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Slot([]byte(tc.key)); got != tc.want {
				t.Errorf("Slot(%q) = %d, want %d", tc.key, got, tc.want)
			}
		})
	}
}

func TestTag(t *testing.T) {
	for key, want := range map[string]string{
		"":               "",
		"{":              "{",
		"}":              "}",
		"{}":             "{}",
		"a{b":            "a{b",
		"}a{b}":          "b",
		"a{{b}}":         "{b",
		"a{}{b}":         "a{}{b}", // the first braces decide
		"{\x00\r\n}rest": "\x00\r\n",
	} {
		if got := Tag([]byte(key)); string(got) != want {
			t.Errorf("Tag(%q) = %q, want %q", key, got, want)
		}
	}
}

// A server says what the slots of keys with braces and odd bytes are.
func TestSlotLikeServer(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{Args: []string{"--cluster-enabled", "yes"}})
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, 3000)
	pipe := server.Client().Pipeline()
	for i := range keys {
		key := make([]byte, rng.IntN(40))
		for j := range key {
			if key[j] = byte(rng.Uint32()); rng.IntN(4) == 0 {
				key[j] = "{}"[rng.IntN(2)]
			}
		}
		keys[i] = string(key)
		pipe.Do(t.Context(), "CLUSTER", "KEYSLOT", keys[i])
	}
	answers, err := pipe.Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if want, got := a.(interface{ Val() any }).Val(), Slot([]byte(keys[i])); want != int64(got) {
			t.Errorf("Slot(%q) = %d, the server says %v", keys[i], got, want)
		}
	}
}

func BenchmarkSlot(b *testing.B) {
	key := []byte("session:0123456789abcdef0123")
	b.SetBytes(int64(len(key)))
	b.ReportAllocs()
	for b.Loop() {
		Slot(key)
	}
}
