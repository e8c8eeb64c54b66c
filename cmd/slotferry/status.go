package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/service"
	"github.com/slotferry/slotferry/service/history"
)

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [--server URL | --folder DIR | --checkpoint DIR]",
		Short: "Show the jobs of a service and their last runs, or how far an import is",
		Long: `Show jobs and how their last runs ended: from a running service, from the folder of
one whether it runs or not, or how far one import is, from its checkpoint. Nothing
is changed.`,
		Example: `  slotferry status
  slotferry status --server https://10.0.0.5:8474 --token-file /etc/slotferry/token
  slotferry status --folder /var/lib/slotferry --output json
  slotferry status --checkpoint .slotferry/dump.rdb-to-10.0.0.1-6379-5f3a9c21`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd) },
	}
	f := cmd.Flags()
	f.String("server", "", "ask the service at `URL` (default http://127.0.0.1:8474)")
	f.String("token-file", "", "the service's token is in `FILE`")
	f.String("folder", "", "read the history in the folder of a service, `DIR`")
	f.String("checkpoint", "", "read the checkpoint of an import in `DIR`")
	f.String("output", "text", "`HOW` to tell: text or json")
	cmd.SetUsageFunc(usage)
	cmd.SetHelpFunc(help)
	return cmd
}

func runStatus(cmd *cobra.Command) error {
	text := func(name string) string {
		s, _ := cmd.Flags().GetString(name)
		return s
	}
	asJSON := text("output") == "json"
	given := 0
	for _, name := range []string{"server", "folder", "checkpoint"} {
		if text(name) != "" {
			given++
		}
	}
	switch o := text("output"); {
	case given > 1:
		return &usageError{errors.New("--server, --folder and --checkpoint: give one of them")}
	case o != "text" && o != "json" && o != "auto":
		return &usageError{fmt.Errorf("--output: %q is not known; choose text or json", o)}
	case text("token-file") != "" && (text("folder") != "" || text("checkpoint") != ""):
		return &usageError{errors.New("--token-file: it goes with --server alone")}
	}
	if dir := text("checkpoint"); dir != "" {
		c, err := readCheckpoint(dir)
		if err != nil {
			return err
		}
		return tellCheckpoint(cmd.OutOrStdout(), c, asJSON)
	}
	var jobs []service.JobView
	var err error
	if dir := text("folder"); dir != "" {
		jobs, err = jobsInFolder(dir)
	} else {
		jobs, err = jobsOfServer(cmd.Context(), cmp.Or(text("server"), "http://127.0.0.1:8474"), text("token-file"))
	}
	if err != nil {
		return err
	}
	return tellJobs(cmd.OutOrStdout(), jobs, asJSON)
}

// readCheckpoint reads a checkpoint without locking it.
func readCheckpoint(dir string) (checkpoint.Checkpoint, error) {
	data, err := os.ReadFile(filepath.Join(dir, "checkpoint.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint.Checkpoint{}, fmt.Errorf("there is no checkpoint in %s", dir)
	}
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	return checkpoint.Decode(data)
}

// jobsInFolder reads what a service keeps in its folder.
func jobsInFolder(dir string) ([]service.JobView, error) {
	s, err := history.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no history in %s; name the folder of a service", dir)
	}
	if err != nil {
		return nil, err
	}
	out := []service.JobView{}
	for _, j := range s.Jobs {
		out = append(out, viewOf(j, s.Serving))
	}
	return out, nil
}

func viewOf(j history.JobRecord, serving bool) service.JobView {
	m := j.Mark
	v := service.JobView{
		Name: m.Job, State: service.Idle, Last: j.Last, Failures: m.Failures, LastSuccess: m.LastSuccess,
		Skipped: m.Skipped, Resumable: m.Resumable,
	}
	v.Source, v.Target, _ = strings.Cut(m.Of, " ")
	switch {
	case m.Paused:
		v.State = service.Paused
	case serving && j.Current != nil:
		v.State = service.Running
		v.Since = j.Current.Started
		v.Current = &service.Progress{Run: j.Current.ID, Started: j.Current.Started, Seconds: time.Since(j.Current.Started).Seconds()}
	case j.Current != nil: // its process died
		v.Last = j.Current
		v.Last.Status, v.Resumable = service.Interrupted, true
	case serving && m.Schedule != "":
		v.State = service.Waiting
	}
	return v
}

// jobsOfServer asks a service.
func jobsOfServer(ctx context.Context, server, tokenFile string) ([]service.JobView, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &usageError{errors.New("--server: it is no address; write http://host:port")}
	}
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath("api/v1/jobs").String(), nil)
	if err != nil {
		return nil, err
	}
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--token-file: %w", err)}
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; see that slotferry serve runs there, or read its folder with --folder", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%s asks for its token, or does not take this one; give --token-file", u.Host)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", u.Host, resp.Status)
	}
	const most = 64 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, err
	}
	var list struct {
		Jobs []service.JobView `json:"jobs"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("what %s answered is no list of jobs: %w", u.Host, err)
	}
	return list.Jobs, nil
}

// tellJobs writes a table of jobs, or JSON.
func tellJobs(w io.Writer, jobs []service.JobView, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(map[string][]service.JobView{"jobs": jobs})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tSTATE\tNEXT\tLAST RUN\tENDED\tKEYS\tWRITTEN\tFAILED\tLAST SUCCESS")
	for _, j := range jobs {
		state := string(j.State)
		if p := j.Current; p != nil {
			state += " for " + (time.Duration(p.Seconds) * time.Second).String()
		}
		last, ended, keys, written, failed := "-", "-", "-", "-", "-"
		if r := j.Last; r != nil {
			last, ended = string(r.Status), shownTime(r.Ended)
			keys, written, failed = humanize.Comma(r.Read), humanize.Comma(r.Written), humanize.Comma(r.Failed)
		}
		if j.Failures > 1 {
			last = fmt.Sprintf("%s (%d in a row)", last, j.Failures)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.Name, state, shownTime(j.Next), last, ended, keys, written, failed, shownTime(j.LastSuccess))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Last != nil && j.Last.Error != "" {
			fmt.Fprintf(w, "\n%s: %s\n", j.Name, j.Last.Error)
			if j.Last.Remedy != "" {
				fmt.Fprintf(w, "  → %s\n", j.Last.Remedy)
			}
		}
	}
	return nil
}

func shownTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// tellCheckpoint writes how far an import is.
func tellCheckpoint(w io.Writer, c checkpoint.Checkpoint, asJSON bool) error {
	counts := c.State.Counts
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Job     string    `json:"job"`
			Source  string    `json:"source"`
			Target  string    `json:"target"`
			Started time.Time `json:"started"`
			Saved   time.Time `json:"saved"`
			Seconds float64   `json:"seconds"`
			Runs    int       `json:"runs"`
			Total   int64     `json:"total,omitempty"`
			Done    bool      `json:"done"`
			checkpoint.Counts
		}{c.Job, c.Source.Text, c.Target.Text, c.Started, c.Saved, c.Seconds, c.Runs, c.Total, c.Done, counts})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, value) }
	row("job", c.Job)
	row("from", c.Source.Text)
	row("to", c.Target.Text)
	state := "not finished; the same command goes on"
	if c.Done {
		state = "finished"
	}
	row("state", state)
	row("begun", shownTime(c.Started))
	row("saved", shownTime(c.Saved))
	row("runs", fmt.Sprintf("%d, %s in all", c.Runs, time.Duration(c.Seconds*float64(time.Second)).Round(time.Second)))
	read := humanize.Comma(counts.Read)
	if c.Total > 0 {
		read += " of " + humanize.Comma(c.Total)
	}
	row("keys", read)
	row("written", fmt.Sprintf("%s (%s)", humanize.Comma(counts.Written), humanize.IBytes(uint64(max(0, counts.Bytes)))))
	row("others", fmt.Sprintf("%s skipped, %s expired, %s filtered, %s failed", humanize.Comma(counts.Skipped), humanize.Comma(counts.Expired), humanize.Comma(counts.Filtered), humanize.Comma(counts.Failed)))
	return t.Flush()
}
