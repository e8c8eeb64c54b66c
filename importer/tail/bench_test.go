package tail

import (
	"context"
	"fmt"
	"testing"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// BenchmarkApply applies small SETs of random keys that lie in memory, to three
// masters on the same machine.
func BenchmarkApply(b *testing.B) {
	nodes := sandboxtest.Cluster(b, sandbox.ClusterOptions{})
	c := target.New(target.Options{Seeds: nodes.Seeds(), Job: "bench"})
	if _, findings := c.Inspect(b.Context()); len(findings.Blockers()) > 0 {
		b.Fatal(findings)
	}
	const keys = 300_000
	commands := make([]record.Command, keys)
	for i := range commands {
		words := [][]byte{[]byte("SET"), fmt.Appendf(nil, "key:%08d", i*7919%keys), fmt.Appendf(nil, "value-%026d", i)}
		commands[i] = record.Command{Words: words, Raw: appendWords(nil, words)}
	}
	a := New(Options{Cluster: c, Choice: all(b), Job: "bench"})
	ended := make(chan error, 1)
	go func() { ended <- a.Run(context.Background()) }()
	if err := a.Begin(b.Context(), record.Position{Era: "bench"}, true); err != nil {
		b.Fatal(err)
	}
	serial := int64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		cmd := commands[i%keys]
		serial += int64(len(cmd.Raw))
		cmd.End = record.Position{Era: "bench", Serial: serial}
		if err := a.Command(&cmd); err != nil {
			b.Fatal(err)
		}
	}
	if err := a.Drain(b.Context()); err != nil {
		b.Fatal(err)
	}
	n := a.Counts()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(n.Applied)/float64(n.Blocks), "commands/block")
	a.Finish()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
