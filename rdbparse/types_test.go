package rdbparse

import "testing"

func TestEncodingName(t *testing.T) {
	for _, tc := range []struct {
		want    string
		vendors []Vendor
		types   []byte
	}{
		{"string", []Vendor{Redis, Valkey}, []byte{0}},
		{"linkedlist", []Vendor{Redis, Valkey}, []byte{1}},
		{"hashtable", []Vendor{Redis, Valkey}, []byte{2, 4}},
		{"skiplist", []Vendor{Redis, Valkey}, []byte{3, 5}},
		{"module", []Vendor{Redis, Valkey}, []byte{6, 7}},
		{"zipmap", []Vendor{Redis, Valkey}, []byte{9}},
		{"ziplist", []Vendor{Redis, Valkey}, []byte{10, 12, 13}},
		{"intset", []Vendor{Redis, Valkey}, []byte{11}},
		{"quicklist", []Vendor{Redis, Valkey}, []byte{14, 18}},
		{"listpack", []Vendor{Redis, Valkey}, []byte{16, 17, 20}},
		{"stream", []Vendor{Redis, Valkey}, []byte{15, 19, 21}},
		{"stream", []Vendor{Redis}, []byte{26, 27}},
		{"hashtable with field expiry", []Vendor{Redis, Valkey}, []byte{22}},
		{"hashtable with field expiry", []Vendor{Redis}, []byte{24}},
		{"listpack with field expiry", []Vendor{Redis}, []byte{23, 25}},
		{"", []Vendor{Valkey}, []byte{23, 24, 25, 26, 27}},
		{"", []Vendor{Redis, Valkey}, []byte{8, 28, 255}},
	} {
		for _, v := range tc.vendors {
			for _, typ := range tc.types {
				if got := EncodingName(v, typ); got != tc.want {
					t.Errorf("EncodingName(%s, %d) = %q, want %q", v, typ, got, tc.want)
				}
			}
		}
	}
	// Whoever has a type knows how it is stored.
	for _, v := range []Vendor{Redis, Valkey} {
		for typ := range 256 {
			if (TypeName(v, byte(typ)) == "") != (EncodingName(v, byte(typ)) == "") {
				t.Errorf("%s type %d is %q, stored as %q", v, typ, TypeName(v, byte(typ)), EncodingName(v, byte(typ)))
			}
		}
	}
}
