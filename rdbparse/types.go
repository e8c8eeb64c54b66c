package rdbparse

// Value types, as named in src/rdb.h of Redis 8.6 and Valkey 9.1. Numbers from
// 22 on mean different things by vendor.
const (
	TypeString         = 0
	TypeList           = 1
	TypeSet            = 2
	TypeZset           = 3 // scores as text
	TypeHash           = 4
	TypeZset2          = 5 // scores as 8 bytes
	TypeModule1        = 6 // 4.0 release candidates; its end can't be found
	TypeModule2        = 7
	TypeHashZipmap     = 9
	TypeListZiplist    = 10
	TypeSetIntset      = 11
	TypeZsetZiplist    = 12
	TypeHashZiplist    = 13
	TypeQuicklist      = 14
	TypeStream         = 15
	TypeHashListpack   = 16
	TypeZsetListpack   = 17
	TypeQuicklist2     = 18
	TypeStream2        = 19
	TypeSetListpack    = 20
	TypeStream3        = 21
	TypeHashTTLRC      = 22 // Redis 7.4 release candidates
	TypeHashLPTTLRC    = 23 // the same as a listpack
	TypeHashTTL        = 24
	TypeHashListpackEx = 25
	TypeStream4        = 26 // with idempotent producers (8.6)
	TypeStream5        = 27 // with given-back entries (8.8)

	ValkeyHash2 = 22 // hash with field TTLs (9.0)
)

// Opcodes: bytes that stand where a type could, as named in src/rdb.h.
const (
	opSlotImport    = 243 // Valkey
	opKeyMeta       = 243 // Redis 8.6
	opSlotInfo      = 244
	opFunction      = 245
	opFunctionPreGA = 246
	opModuleAux     = 247
	opIdle          = 248
	opFreq          = 249
	opAux           = 250
	opResizeDB      = 251
	opExpireMs      = 252
	opExpireSeconds = 253
	opSelectDB      = 254
	opEOF           = 255

	firstOpcode = 242 // Valkey 9.2's, which has no place in a finished file
)

// What a module's data consist of: each item has its kind in front of it.
const (
	moduleEnd    = 0
	moduleInt    = 1
	moduleUint   = 2
	moduleFloat  = 3
	moduleDouble = 4
	moduleString = 5
)

// Vendor says whose numbers a file uses.
type Vendor uint8

// FirstValkey is the lowest RDB version of Valkey's own. Files and payloads of
// lower ones have the numbers of Redis, whoever wrote them.
const FirstValkey = 80

// The two magics there are: "REDIS00NN" and "VALKEY0NN".
const (
	Redis Vendor = iota
	Valkey
)

func (v Vendor) String() string {
	if v == Valkey {
		return "valkey"
	}
	return "redis"
}

type typeInfo struct {
	name   string
	lowest uint16
}

var typeInfos = [...]typeInfo{
	TypeString:         {"string", 6},
	TypeList:           {"list", 6},
	TypeSet:            {"set", 6},
	TypeZset:           {"zset", 6},
	TypeHash:           {"hash", 6},
	TypeZset2:          {"zset", 8},
	TypeModule1:        {"module", 0},
	TypeModule2:        {"module", 8},
	TypeHashZipmap:     {"hash", 6},
	TypeListZiplist:    {"list", 6},
	TypeSetIntset:      {"set", 6},
	TypeZsetZiplist:    {"zset", 6},
	TypeHashZiplist:    {"hash", 6},
	TypeQuicklist:      {"list", 7},
	TypeStream:         {"stream", 9},
	TypeHashListpack:   {"hash", 10},
	TypeZsetListpack:   {"zset", 10},
	TypeQuicklist2:     {"list", 10},
	TypeStream2:        {"stream", 10},
	TypeSetListpack:    {"set", 11},
	TypeStream3:        {"stream", 11},
	TypeHashTTLRC:      {"hash", 80}, // Valkey's: no released Redis takes its own
	TypeHashLPTTLRC:    {"hash", 0},
	TypeHashTTL:        {"hash", 12},
	TypeHashListpackEx: {"hash", 12},
	TypeStream4:        {"stream", 13},
	TypeStream5:        {"stream", 14},
}

// TypeName is the name that the TYPE command gives to keys of the RDB type
// typ, but "module" for every module's, and "" for a type that v doesn't have.
func TypeName(v Vendor, typ byte) string {
	if int(typ) >= len(typeInfos) || v == Valkey && typ > ValkeyHash2 {
		return ""
	}
	return typeInfos[typ].name
}

// EncodingName is how a server that loads a value of the RDB type typ stores
// it at first, in the words of OBJECT ENCODING where they have one: for people.
// It is "" for a type that v doesn't have.
func EncodingName(v Vendor, typ byte) string {
	switch typ {
	case TypeString:
		return "string"
	case TypeList:
		return "linkedlist"
	case TypeSet, TypeHash:
		return "hashtable"
	case TypeZset, TypeZset2:
		return "skiplist"
	case TypeModule1, TypeModule2:
		return "module"
	case TypeHashZipmap:
		return "zipmap"
	case TypeListZiplist, TypeZsetZiplist, TypeHashZiplist:
		return "ziplist"
	case TypeSetIntset:
		return "intset"
	case TypeQuicklist, TypeQuicklist2:
		return "quicklist"
	case TypeHashListpack, TypeZsetListpack, TypeSetListpack:
		return "listpack"
	case TypeStream, TypeStream2, TypeStream3:
		return "stream"
	case TypeHashTTLRC: // and Valkey's
		return "hashtable with field expiry"
	}
	if v == Valkey {
		return ""
	}
	switch typ {
	case TypeHashTTL:
		return "hashtable with field expiry"
	case TypeHashLPTTLRC, TypeHashListpackEx:
		return "listpack with field expiry"
	case TypeStream4, TypeStream5:
		return "stream"
	}
	return ""
}

// LowestVersion is the lowest RDB version that knows the type typ: a payload
// with it in the footer is taken by every server that can take the value at
// all. It is 0 for types that no released server takes.
func LowestVersion(typ byte) uint16 {
	if int(typ) >= len(typeInfos) {
		return 0
	}
	return typeInfos[typ].lowest
}

const moduleNameChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// ModuleName decodes the 9 characters that the upper 54 bits of a module
// type's id stand for; the lower 10 are the version of its encoding
// (moduleTypeEncodeId in src/module.c).
func ModuleName(id uint64) string {
	var name [9]byte
	id >>= 10
	for i := len(name) - 1; i >= 0; i-- {
		name[i] = moduleNameChars[id&63]
		id >>= 6
	}
	return string(name[:])
}
