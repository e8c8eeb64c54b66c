package importer_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// An RDB file is imported into a cluster. Whatever ends it midway, the same
// call goes on where it stopped.
func Example() {
	ctx := context.Background()
	file, seeds, cleanUp := demo(ctx)
	defer cleanUp()

	keys, err := choice.New(choice.Options{Exclude: []string{"session:*"}})
	if err != nil {
		log.Fatal(err)
	}
	source := rdb.New(rdb.Options{Path: file, Choice: keys})
	defer source.Close()
	cluster := target.New(target.Options{Seeds: seeds})
	defer cluster.Close()

	summary, err := importer.New(importer.Options{
		Job: "users", Source: source, Target: cluster, Choice: keys,
		OpenStore: func(context.Context) (importer.Store, error) {
			return checkpoint.OpenFile(file + ".checkpoint")
		},
	}).Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(summary.Status)
	fmt.Println(summary.Read, "read,", summary.Written, "written,", summary.Filtered, "left out")
	// Output:
	// done
	// 120 read, 100 written, 20 left out
}

// demo makes an RDB file with 100 users and 20 sessions, and an empty cluster.
func demo(ctx context.Context) (file string, seeds []string, cleanUp func()) {
	server, err := sandbox.Start(ctx, sandbox.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 120 {
		name := fmt.Sprintf("user:%d", i)
		if i >= 100 {
			name = fmt.Sprintf("session:%d", i)
		}
		server.Client().Set(ctx, name, "…", 0)
	}
	if file, err = server.Save(ctx); err != nil {
		log.Fatal(err)
	}
	cluster, err := sandbox.StartCluster(ctx, sandbox.ClusterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return file, cluster.Seeds(), func() {
		server.Stop()
		cluster.Stop()
		_ = os.RemoveAll(file + ".checkpoint")
	}
}
