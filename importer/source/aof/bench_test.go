package aof

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/resp"
)

// BenchmarkSurvey reads 64 MiB of commands.
func BenchmarkSurvey(b *testing.B) {
	for _, size := range []int{10, 200, 2000} {
		for _, expiring := range []bool{false, true} {
			b.Run(fmt.Sprintf("bytes=%d/expiring=%v", size, expiring), func(b *testing.B) {
				value := string(make([]byte, size))
				var text []byte
				for i := 0; len(text) < 64<<20; i++ {
					key := fmt.Sprintf("user:%d", i*7919%500_000)
					if expiring && i%4 == 0 {
						text = resp.AppendCommand(text, "SET", key, value, "PXAT", fmt.Sprint(time.Now().UnixMilli()-1000))
					} else {
						text = resp.AppendCommand(text, "SET", key, value)
					}
				}
				path := filepath.Join(b.TempDir(), "appendonly.aof")
				if err := os.WriteFile(path, text, 0o600); err != nil {
					b.Fatal(err)
				}
				s := New(Options{Path: path, Choice: all(b)})
				defer s.Close()
				if _, found := s.Inspect(b.Context()); len(found) > 0 {
					b.Fatal(found)
				}
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					var facts preflight.Source
					if found := s.Survey(b.Context(), &facts); len(found) > 0 {
						b.Fatal(found)
					}
				}
			})
		}
	}
}
