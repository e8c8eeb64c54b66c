package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// options are the flags, and what follows from them.
type options struct {
	minutes  float64
	short    bool
	keep     bool
	seed     uint64
	out, dir string

	lasts       time.Duration // until the faults end
	quiet       time.Duration // at the end of it: the mirrored source is not written to
	warm        time.Duration // at the beginning: the service is killed only then
	most        int           // faults; 0: as many as there is time for
	between     [2]time.Duration
	look        time.Duration // how often metrics are read
	nodeTimeout time.Duration // of the cluster
	keys        int           // of each source that are not written to
}

// parse reads the flags; what is wrong with them is on the error.
func parse(args []string, usage io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(usage)
	f.Float64Var(&o.minutes, "minutes", 10, "how many `minutes` things go wrong for")
	f.BoolVar(&o.short, "short", false, "a few seconds and three faults; growth is not judged")
	f.Uint64Var(&o.seed, "seed", 0, "the `number` that decides which faults are made, and when (default: drawn, and printed)")
	f.StringVar(&o.out, "out", "", "`file` for the table, beside standard output")
	f.BoolVar(&o.keep, "keep", false, "leave the service's folder, with its logs, where it is")
	f.StringVar(&o.dir, "dir", "", "parent `folder` of temporary data (default the system's)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", f.Arg(0))
	case o.minutes < 2:
		return o, errors.New("--minutes must be at least 2: the mirror runs once a minute")
	}
	for o.seed == 0 {
		o.seed = rand.Uint64N(1e9)
	}
	o.plan()
	return o, nil
}

// plan decides how long what lasts.
func (o *options) plan() {
	if o.short {
		o.lasts, o.quiet, o.warm, o.most = 9*time.Second, 2*time.Second, 9*time.Second, 3
		o.between = [2]time.Duration{time.Second, 2 * time.Second}
		o.look, o.nodeTimeout, o.keys = 500*time.Millisecond, time.Second, 2000
		return
	}
	o.lasts = time.Duration(o.minutes * float64(time.Minute))
	o.quiet, o.warm = time.Minute, o.lasts/3
	o.between = [2]time.Duration{10 * time.Second, 20 * time.Second}
	o.look, o.nodeTimeout, o.keys = 2*time.Second, 3*time.Second, 20_000
}
