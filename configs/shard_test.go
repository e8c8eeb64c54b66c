package configs

import (
	"strings"
	"testing"
)

func TestShard(t *testing.T) {
	whole := mustLoad(t)
	names := map[string]bool{whole.Job: true}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--shard=0/2"}, "0-8191"},
		{[]string{"--shard=1/2"}, "8192-16383"},
		{[]string{"--shard=1/4", "--slots=0-7"}, "2-3"},
		{[]string{"--shard=1/3", "--slots=0-7,x"}, ""},
		{[]string{"--shard=2/2"}, ""},
		{[]string{"--shard=0/3", "--slots=5-6"}, ""},
	} {
		c, err := load(t, nil, append([]string{anySource, anyTarget}, tc.args...)...)
		if tc.want == "" {
			where := "--shard"
			if strings.HasSuffix(tc.args[len(tc.args)-1], "x") {
				where = "--slots"
			}
			wantOneError(t, err, where, "")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Choice.Slots != tc.want {
			t.Errorf("%v: slots %q, want %q", tc.args, c.Choice.Slots, tc.want)
		}
		if names[c.Job] || !strings.Contains(c.Checkpoint, c.Job) {
			t.Errorf("%v: job %q with the checkpoint %q", tc.args, c.Job, c.Checkpoint)
		}
		names[c.Job] = true
	}
	_, err := load(t, nil, anySource, anyTarget, "--via=sync", "--cutover", "--shard=0/2")
	wantOneError(t, err, "--cutover", "does not go with --shard")
	if c := mustLoad(t, "--job=nightly", "--shard=1/2", "--checkpoint=target"); c.Job != "nightly-shard-1-of-2" {
		t.Errorf("a named job is %q", c.Job)
	}
}
