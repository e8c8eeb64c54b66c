package scan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
)

// BenchmarkScan reads short values, from near and from far, into nothing.
func BenchmarkScan(b *testing.B) {
	server := populated(b, 300_000)
	keys, err := choice.New(choice.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, rtt := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		b.Run(fmt.Sprint(rtt), func(b *testing.B) {
			addr := server.Addr
			if rtt > 0 {
				addr = far(b, addr, rtt)
			}
			s := scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: addr}, Choice: keys})
			defer func() { _ = s.Close() }()
			if _, found := s.Inspect(b.Context()); len(found.Blockers()) > 0 {
				b.Fatal(found)
			}
			b.ReportAllocs()
			c := &counting{}
			for b.Loop() {
				if err := s.Stream(b.Context(), record.Position{}, c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.keys)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
