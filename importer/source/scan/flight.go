package scan

import (
	"math"
	"time"
)

const (
	flightBytes = 16 << 20 // of values on their way at once, by what was seen of their lengths
	nearBytes   = 1 << 20  // of values that keep a source busy which is near, and keys
	nearKeys    = 1024
	flightParts = 4       // groups that a flight is sent in
	firstKeys   = 16      // asked for before anything is known of the values
	recent      = 128     // values that tell how long the next ones are
	farCount    = 10_000  // keys asked for in one SCAN at most, if not the user's number: 5 to 8 ms of the server
	farTrips    = 4       // round trips whose work is on its way: a server that has more to do than to read writes little
	leastCount  = 100     // not divided any further
	pageBytes   = 4 << 20 // of names that make a page no larger
	nearby      = 500 * time.Microsecond
)

// flight decides how much is on its way from the source at once: enough that
// the source has work while answers travel, and not more than it can hold in
// its output buffer when values turn out longer than those before.
//
// The order of a SCAN is that of hashes, so what comes next is like what came
// last: many short values with some long ones among them stay such.
type flight struct {
	count int // the user's COUNT

	seen   int     // values since the beginning of a database or connection
	weight float64 // values that mean and square stand for
	mean   float64 // length of values in bytes
	square float64 // and of its square

	rtt   time.Duration // shortest time to an answer
	ahead float64       // keys that are worked off in farTrips round trips
	names float64       // bytes of a name
	page  time.Time     // when the last answer to SCAN came
}

// begin is called before a database is read. What was seen elsewhere counts
// little from here on.
func (f *flight) begin() {
	f.seen, f.weight, f.page = 0, min(f.weight, recent/16), time.Now()
}

// value notes the length of a value in bytes.
func (f *flight) value(bytes int64) {
	f.seen++
	f.weight = min(f.weight+1, recent)
	x := float64(bytes)
	f.mean += (x - f.mean) / f.weight
	f.square += (x*x - f.square) / f.weight
}

// answered notes how long an answer took, which is a round trip at least.
func (f *flight) answered(after time.Duration) {
	if f.rtt == 0 || after < f.rtt {
		f.rtt = after
	}
}

// scanned notes the answer to a SCAN with its COUNT. Each cursor waits for the
// one before it: a page that lasts less than some round trips may leave the
// source without work.
func (f *flight) scanned(count, names, bytes int) {
	now := time.Now()
	took := now.Sub(f.page)
	f.page = now
	if names > 0 {
		f.names = float64(bytes) / float64(names)
	}
	if f.rtt < nearby {
		f.ahead = 0
		return
	}
	worked := farTrips * float64(count) * f.rtt.Seconds() / took.Seconds()
	if worked < f.ahead {
		worked = 0.75*f.ahead + 0.25*worked // one slow page is no slow source
	}
	f.ahead = min(worked, 2*farCount)
}

// pageKeys is the COUNT of the next SCAN, where only a share of it is allowed.
func (f *flight) pageKeys(share float64) int {
	limit := float64(farCount)
	if f.names > 0 {
		limit = min(limit, pageBytes/f.names)
	}
	n := max(f.count, int(min(f.ahead, limit)))
	return max(min(n, leastCount), int(float64(n)*share))
}

// keys is how many keys may be on their way.
func (f *flight) keys() int {
	keys := nearKeys + f.ahead
	if f.mean > 0 {
		keys = min(keys, nearBytes/f.mean+f.ahead)
	}
	keys = min(keys, float64(firstKeys+4*f.seen), f.safe())
	return max(1, int(keys))
}

// safe is the number of keys whose values hardly ever are longer than
// flightBytes in sum: n values are n means long, give or take the root of n
// standard deviations.
func (f *flight) safe() float64 {
	const deviations = 4
	d := deviations * math.Sqrt(max(0, f.square-f.mean*f.mean))
	// The root of n that solves mean·n + d·√n = flightBytes.
	root := 2 * flightBytes / (d + math.Sqrt(d*d+4*max(1, f.mean)*flightBytes))
	return root * root
}
