package notify

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/resp"
)

// BenchmarkListen reads messages of which one in ten names a key for the first
// time.
func BenchmarkListen(b *testing.B) {
	const messages = 100_000
	var data []byte
	for i := range messages {
		data = append(data, told(keyevent, "__keyevent@0__:set", fmt.Sprintf("user:%d:session", i%(messages/10)))...)
	}
	l := New(Options{Endpoint: endpoint.Endpoint{Addr: "127.0.0.1:1"}})
	defer l.Close()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r := &reader{r: resp.NewReader(bytes.NewReader(data), bufferBytes, nil), keyMax: keyMax}
		for range messages {
			m, err := r.next()
			if err != nil {
				b.Fatal(err)
			}
			l.touch(m)
		}
		l.touched.clear()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
}
