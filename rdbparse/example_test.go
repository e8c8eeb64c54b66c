package rdbparse_test

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/slotferry/slotferry/rdbparse"
)

// This lists the keys of a file outside database 0, and frames each value as
// RESTORE takes it.
func Example() {
	f, err := os.Open("testdata/redis-8.0.rdb")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	w, err := rdbparse.NewWalker(f, rdbparse.Options{Name: f.Name(), Seekable: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	header := w.Header()
	fmt.Printf("%s, RDB version %d\n", header.Vendor, header.Version)

	var payload []byte
	for {
		e, err := w.Next()
		if err == io.EOF {
			break // the checksum was right
		}
		if err != nil {
			fmt.Println(err) // says where, and at which key
			return
		}
		if e.Kind != rdbparse.KindKey || e.DB == 0 {
			continue
		}
		expiry := "no expiry"
		if e.ExpireAt != 0 {
			expiry = "expires " + time.UnixMilli(e.ExpireAt).UTC().Format(time.RFC3339)
		}
		// A Large value would be read from the file, at e.ValueOffset.
		payload = rdbparse.AppendPayload(payload[:0], e.Type, e.Value, uint16(header.Version))
		fmt.Printf("db %d: %s, %s, %s, payload of %d bytes\n",
			e.DB, e.Key, rdbparse.TypeName(header.Vendor, e.Type), expiry, len(payload))
	}

	// Unordered output:
	// redis, RDB version 12
	// db 3: in:three, string, no expiry, payload of 13 bytes
	// db 3: in:three:list, list, no expiry, payload of 26 bytes
	// db 9: in:nine, string, expires 2100-01-01T00:00:00Z, payload of 113 bytes
	// db 9: text, string, no expiry, payload of 42 bytes
}
