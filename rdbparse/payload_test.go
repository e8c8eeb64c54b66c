package rdbparse

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestPayload(t *testing.T) {
	// What Redis 7.0 answers to SET k hello, DUMP k.
	const dump = "\x00\x05hello\x0a\x00cr\xdfve4 \x0a"
	typ, value, version, err := SplitPayload([]byte(dump))
	if err != nil || typ != 0 || string(value) != "\x05hello" || version != 10 {
		t.Errorf("SplitPayload: %d, %q, %d, %v", typ, value, version, err)
	}
	if got := AppendPayload([]byte("before"), 0, []byte("\x05hello"), 10); string(got) != "before"+dump {
		t.Errorf("AppendPayload: %q", got)
	}
	crc := CRC64(CRC64(0, []byte{0}), []byte("\x05hello"))
	if got := AppendFooter([]byte("\x00\x05hello"), 10, crc); string(got) != dump {
		t.Errorf("AppendFooter: %q", got)
	}
	for i := range dump {
		damaged := []byte(dump)
		damaged[i] ^= 0x10
		if _, _, _, err := SplitPayload(damaged); !errors.Is(err, ErrChecksum) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	for n := range footerLen + 1 {
		if _, _, _, err := SplitPayload(make([]byte, n)); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	unchecked := append([]byte(dump[:9]), make([]byte, 8)...)
	if _, value, _, err := SplitPayload(unchecked); err != nil || string(value) != "\x05hello" {
		t.Errorf("without a checksum: %q, %v", value, err)
	}
}

func TestFunctionLibraries(t *testing.T) {
	frame := func(body string) []byte {
		return AppendPayload(nil, body[0], []byte(body[1:]), 10)
	}
	got, err := FunctionLibraries(frame("\xf5\x03one\xf5\xc3\x04\x08\x00x\xa0\x00"))
	if err != nil || !slices.Equal(got, []string{"one", "xxxxxxxx"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := FunctionLibraries(AppendFooter(nil, 10, 0)); err != nil || len(got) != 0 {
		t.Errorf("no library: %q, %v", got, err)
	}
	for _, tc := range []struct {
		dump []byte
		want error
	}{
		{nil, ErrTruncated},
		{frame("\xf5\x09one"), ErrTruncated},
		{frame("\xf5"), ErrTruncated},
		{frame("\xf6\x03one"), ErrCorrupt},
		{append(frame("\xf5\x03one"), 1), ErrChecksum},
	} {
		if _, err := FunctionLibraries(tc.dump); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v, want %v", tc.dump, err, tc.want)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, tc := range []struct {
		typ    byte
		redis  string
		valkey string
		lowest uint16
	}{
		{0, "string", "string", 6}, {5, "zset", "zset", 8}, {6, "module", "module", 0}, {7, "module", "module", 8},
		{8, "", "", 0}, {13, "hash", "hash", 6}, {14, "list", "list", 7}, {15, "stream", "stream", 9}, {18, "list", "list", 10},
		{20, "set", "set", 11}, {22, "hash", "hash", 80}, {23, "hash", "", 0}, {25, "hash", "", 12}, {26, "stream", "", 13},
		{27, "stream", "", 14}, {28, "", "", 0}, {255, "", "", 0},
	} {
		if TypeName(Redis, tc.typ) != tc.redis || TypeName(Valkey, tc.typ) != tc.valkey || LowestVersion(tc.typ) != tc.lowest {
			t.Errorf("type %d: %q, %q, %d", tc.typ, TypeName(Redis, tc.typ), TypeName(Valkey, tc.typ), LowestVersion(tc.typ))
		}
	}
	if got := ModuleName(0xfbe7ade9fde93000); len(got) != 9 {
		t.Errorf("ModuleName: %q", got)
	}
	if Redis.String() != "redis" || Valkey.String() != "valkey" {
		t.Error("vendors' names")
	}
}

func TestDecompressLZF(t *testing.T) {
	for _, tc := range []struct {
		src, want string
	}{
		{"", ""},
		{"\x04hello", "hello"},
		{"\x00x\xa0\x00", "xxxxxxxx"},
		{"\x02abc\x20\x02", "abcabc"},
		{"\x02abc\xe0\x00\x02", "abcabcabcabc"},
	} {
		dst := bytes.Repeat([]byte("?"), 20)
		for _, d := range [][]byte{nil, dst, dst[:3:3]} {
			got, err := DecompressLZF(d, []byte(tc.src), len(tc.want))
			if err != nil || string(got) != tc.want {
				t.Errorf("%q: %q, %v", tc.src, got, err)
			}
		}
		for _, n := range []int{-1, len(tc.want) - 1, len(tc.want) + 1, 1 << 40} {
			if _, err := DecompressLZF(nil, []byte(tc.src), n); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q to %d bytes: %v", tc.src, n, err)
			}
		}
	}
	for _, src := range []string{"\x05abc", "\x20", "\x00a\xe0", "\x00a\xe0\x01", "\x00a\x20\x01"} {
		for n := range 300 {
			if _, err := DecompressLZF(nil, []byte(src), n); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q to %d bytes: %v", src, n, err)
			}
		}
	}
}
