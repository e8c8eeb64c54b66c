package rdbparse

// Value types, as named in src/rdb.h of Redis 8.6 and Valkey 9.1. Numbers from
// 22 on mean different things by vendor.
const (
	typeString         = 0
	typeList           = 1
	typeSet            = 2
	typeZset           = 3 // scores as text
	typeHash           = 4
	typeZset2          = 5 // scores as 8 bytes
	typeModule1        = 6 // 4.0 release candidates; its end can't be found
	typeModule2        = 7
	typeHashZipmap     = 9
	typeListZiplist    = 10
	typeSetIntset      = 11
	typeZsetZiplist    = 12
	typeHashZiplist    = 13
	typeQuicklist      = 14
	typeStream         = 15
	typeHashListpack   = 16
	typeZsetListpack   = 17
	typeQuicklist2     = 18
	typeStream2        = 19
	typeSetListpack    = 20
	typeStream3        = 21
	typeHashTTLRC      = 22 // Redis 7.4 release candidates
	typeHashLPTTLRC    = 23 // the same as a listpack
	typeHashTTL        = 24
	typeHashListpackEx = 25
	typeStream4        = 26 // with idempotent producers (8.6)
	typeStream5        = 27 // with given-back entries (8.8)

	valkeyHash2 = 22 // hash with field TTLs (9.0)
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
	typeString:         {"string", 6},
	typeList:           {"list", 6},
	typeSet:            {"set", 6},
	typeZset:           {"zset", 6},
	typeHash:           {"hash", 6},
	typeZset2:          {"zset", 8},
	typeModule1:        {"module", 0},
	typeModule2:        {"module", 8},
	typeHashZipmap:     {"hash", 6},
	typeListZiplist:    {"list", 6},
	typeSetIntset:      {"set", 6},
	typeZsetZiplist:    {"zset", 6},
	typeHashZiplist:    {"hash", 6},
	typeQuicklist:      {"list", 7},
	typeStream:         {"stream", 9},
	typeHashListpack:   {"hash", 10},
	typeZsetListpack:   {"zset", 10},
	typeQuicklist2:     {"list", 10},
	typeStream2:        {"stream", 10},
	typeSetListpack:    {"set", 11},
	typeStream3:        {"stream", 11},
	typeHashTTLRC:      {"hash", 80}, // Valkey's: no released Redis takes its own
	typeHashLPTTLRC:    {"hash", 0},
	typeHashTTL:        {"hash", 12},
	typeHashListpackEx: {"hash", 12},
	typeStream4:        {"stream", 13},
	typeStream5:        {"stream", 14},
}

// TypeName is the name that the TYPE command gives to keys of the RDB type
// typ, but "module" for every module's, and "" for a type that v doesn't have.
func TypeName(v Vendor, typ byte) string {
	if int(typ) >= len(typeInfos) || v == Valkey && typ > valkeyHash2 {
		return ""
	}
	return typeInfos[typ].name
}

// EncodingName is how a server that loads a value of the RDB type typ stores
// it at first, in the words of OBJECT ENCODING where they have one: for people.
// It is "" for a type that v doesn't have.
func EncodingName(v Vendor, typ byte) string {
	switch typ {
	case typeString:
		return "string"
	case typeList:
		return "linkedlist"
	case typeSet, typeHash:
		return "hashtable"
	case typeZset, typeZset2:
		return "skiplist"
	case typeModule1, typeModule2:
		return "module"
	case typeHashZipmap:
		return "zipmap"
	case typeListZiplist, typeZsetZiplist, typeHashZiplist:
		return "ziplist"
	case typeSetIntset:
		return "intset"
	case typeQuicklist, typeQuicklist2:
		return "quicklist"
	case typeHashListpack, typeZsetListpack, typeSetListpack:
		return "listpack"
	case typeStream, typeStream2, typeStream3:
		return "stream"
	case typeHashTTLRC: // and Valkey's
		return "hashtable with field expiry"
	}
	if v == Valkey {
		return ""
	}
	switch typ {
	case typeHashTTL:
		return "hashtable with field expiry"
	case typeHashLPTTLRC, typeHashListpackEx:
		return "listpack with field expiry"
	case typeStream4, typeStream5:
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
