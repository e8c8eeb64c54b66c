package effect_test

// writes is every writing command in an order in which all succeed on a server
// that knows them; with "?" in front it may fail, because not all versions take
// these words. "^" is a space within a word, DUMP
// and LIBRARIES what DUMP and FUNCTION DUMP return.
var writes = []string{
	"SET s v", "SET s v EX 1000", "SET s v PX 1000000", "SET s v KEEPTTL", "SET n1 v NX", "?SET s v EXAT 9999999999", "?SET s v PXAT 9999999999999",
	"?SET s v GET", "SET s v XX", "?SET s w IFEQ v", "?SET s v IFNE x", "APPEND s x", "SETEX s 1000 v", "PSETEX s 1000000 v",
	"SETNX n2 v", "GETSET s v", "SETRANGE s 0 x", "SETBIT b 7 1", "BITFIELD b SET u8 0 5", "BITOP AND b2 b b", "INCR i", "INCRBY i 2", "DECR i",
	"DECRBY i 2", "INCRBYFLOAT f 1.5", "MSET {m}1 a {m}2 b", "MSETNX {m}3 a {m}4 b", "GETDEL n1", "GETEX s EX 1000", "?GETEX s PERSIST",
	"MSETEX 2 {m}1 a {m}2 b EX 1000", "MSETEX 2 {m}1 a {m}2 b KEEPTTL", "MSETEX 1 {m}1 a XX PXAT 9999999999999",
	"SET d v", "DELEX d IFEQ v", "SET d v", "DELEX d", "SET d v", "DELIFEQ d v",
	"EXPIRE s 1000", "?EXPIRE s 2000 GT", "EXPIREAT s 9999999999", "PEXPIRE s 1000000", "PEXPIREAT s 9999999999999", "PERSIST s", "EXPIRE n2 -1",
	"RENAME s s2", "RENAMENX s2 s", "COPY s s3", "COPY s s3 DB 1", "COPY s s3 REPLACE", "MOVE s3 2", "TOUCH s b", "DEL s3 b2", "UNLINK i f",
	"RESTORE r 0 DUMP REPLACE", "RESTORE r2 1000000 DUMP",
	"LPUSH l a b c d e f g h i j k", "RPUSH l x y z", "LPUSHX l a", "RPUSHX l a", "LINSERT l BEFORE x w", "LSET l 0 q", "LREM l 1 x", "LTRIM l 0 12",
	"LPOP l", "RPOP l", "?LPOP l 2", "RPOPLPUSH l l2", "BRPOPLPUSH l l2 0", "LMOVE l l2 LEFT RIGHT", "BLMOVE l l2 LEFT RIGHT 0", "BLPOP l 0", "BRPOP l 0",
	"LMPOP 2 l l2 LEFT", "BLMPOP 0 2 l l2 LEFT COUNT 2",
	"SADD e 1 2 3 4 5", "SADD e2 2 3", "SREM e 1", "SMOVE e e2 5", "SPOP e", "SINTERSTORE e3 e e2", "SUNIONSTORE e3 e e2", "SDIFFSTORE e3 e e2", "SPOP e3 1",
	"SORT e STORE l3", "SORT e BY w* GET # GET v* LIMIT 0 5 ALPHA STORE l3",
	"ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g", "ZADD z2 1 a", "ZINCRBY z 1 a", "ZREM z a", "ZPOPMIN z", "ZPOPMAX z", "BZPOPMIN z 0", "BZPOPMAX z 0",
	"ZUNIONSTORE z3 2 z z2 WEIGHTS 1 2 AGGREGATE MAX", "ZINTERSTORE z3 2 z z2", "ZDIFFSTORE z3 2 z z2", "ZRANGESTORE z3 z 0 -1",
	"ZREMRANGEBYLEX z2 [x [y", "ZREMRANGEBYRANK z2 5 6", "ZREMRANGEBYSCORE z2 50 60", "ZMPOP 2 z z2 MIN", "BZMPOP 0 2 z z2 MAX COUNT 2",
	"GEOADD g 13.361389 38.115556 P 15.087269 37.502669 C", "GEORADIUS g 15 37 200 km STORE g2", "GEORADIUSBYMEMBER g P 200 km WITHDIST",
	"GEORADIUSBYMEMBER g P 200 km COUNT 2 STOREDIST g2", "GEOSEARCHSTORE g3 g FROMMEMBER P BYRADIUS 200 km",
	"HSET h a 1 b 2 c 3 d 4 e 5 f 6", "HMSET h a 1", "HSETNX h z 1", "HINCRBY h a 1", "HINCRBYFLOAT h a 1.5", "HDEL h z",
	"HEXPIRE h 1000 FIELDS 2 a b", "HPEXPIRE h 1000000 NX FIELDS 1 c", "HEXPIREAT h 9999999999 FIELDS 1 a", "HPEXPIREAT h 9999999999999 FIELDS 1 a",
	"HPERSIST h FIELDS 1 a", "HSETEX h EX 1000 FIELDS 1 a 2", "?HSETEX h FXX KEEPTTL FIELDS 1 a 2", "HGETEX h EX 1000 FIELDS 1 a", "HGETEX h PERSIST FIELDS 1 a",
	"HGETDEL h FIELDS 1 a", "HEXPIRE h 0 FIELDS 1 b",
	"PFADD p a b", "PFADD p2 c", "PFCOUNT p", "PFMERGE p3 p p2", "PFDEBUG TODENSE p",
	"XADD x 1-1 a b", "XADD x 2-1 a b", "XADD x MAXLEN ~ 100 3-1 a b", "?XADD x IDMP me once * a b", "XGROUP CREATE x gr 0", "?XGROUP CREATECONSUMER x gr c2",
	"XREADGROUP GROUP gr c1 COUNT 3 STREAMS x >", "XREADGROUP GROUP gr c1 NOACK STREAMS x >", "XCLAIM x gr c3 0 1-1", "XAUTOCLAIM x gr c4 0 0",
	"XACK x gr 1-1", "XACKDEL x gr KEEPREF IDS 1 2-1", "XDEL x 1-1", "XDELEX x KEEPREF IDS 1 3-1", "XSETID x 99999999999999-1", "XTRIM x MAXLEN 5",
	"XGROUP SETID x gr 0", "XGROUP DELCONSUMER x gr c1", "XGROUP DESTROY x gr", "XCFGSET x IDMP-DURATION 50", "XADD x 999999999999999-1 a b",
	"XIDMPRECORD x me again 999999999999999-1",
	"VADD v VALUES 3 1 2 3 el", "VSETATTR v el {\"a\":1}", "VREM v el",
	"EVAL return^redis.call('incr',KEYS[1]) 1 {t}1", "FUNCTION LOAD #!lua^name=lib\nredis.register_function('fn',function(keys)^return^redis.call('incr',keys[1])^end)",
	"FCALL fn 1 {t}2", "FUNCTION DELETE lib", "FUNCTION FLUSH", "SCRIPT FLUSH", "PUBLISH ch m", "?SPUBLISH ch m",
	"MULTI", "INCR {q}1", "INCR {q}2", "EXEC",
	"SWAPDB 0 3", "SELECT 1", "SET in1 v", "FLUSHDB", "SELECT 3", "SET in3 v", "SELECT 0", "FLUSHALL",
	"RESTORE-ASKING r 0 DUMP REPLACE", "FUNCTION RESTORE LIBRARIES FLUSH",
}

// movable is further forms of commands whose keys have to be looked for.
var movable = []string{
	"EVAL script 2 a b c", "EVAL script 0 a", "EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 a b", "FCALL fn 1 a b",
	"MIGRATE host 1 key 0 10", "MIGRATE host 1 key 0 10 COPY REPLACE", "SORT a LIMIT 0 1 STORE b",
	"XREADGROUP GROUP STREAMS STREAMS COUNT 1 BLOCK 1 NOACK STREAMS a b 1 2",
	"ZMPOP 1 a MIN COUNT 2", "BZMPOP 0 1 a MIN", "LMPOP 3 a b c LEFT", "ZUNIONSTORE a 3 b c d WEIGHTS 1 2 3", "MSETEX 3 a 1 b 2 c 3 NX EX 5",
}

// values is a data set with a value of each kind, for a rewrite: but no vector
// set, which Redis 8.0 and 8.6 fail to rewrite.
var values = []string{
	"SELECT 0", "SET s:plain v", "SET s:expiring v PX 100000000", "RPUSH l a b", "SADD e a b", "ZADD z 1 a", "HSET h a 1 b 2",
	"XADD x 1-1 a b", "XADD x 2-1 a b", "XGROUP CREATE x gr 0", "XREADGROUP GROUP gr c STREAMS x >", "XDEL x 2-1", "PFADD p a",
	"?HEXPIRE h 10000 FIELDS 1 a", "?XGROUP CREATECONSUMER x gr c2",
	"?FUNCTION LOAD #!lua^name=lib\nredis.register_function('fn',function(keys)^return^1^end)",
}
