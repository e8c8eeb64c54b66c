package web

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/slotferry/slotferry/service"
)

// Counters, by job and a label of their own.
const (
	keysRead      = "slotferry_keys_read_total"
	keysWritten   = "slotferry_keys_written_total"
	bytesWritten  = "slotferry_bytes_written_total"
	keysSkipped   = "slotferry_keys_skipped_total"
	keysUnchanged = "slotferry_keys_unchanged_total"
	keysExpired   = "slotferry_keys_expired_total"
	keysFiltered  = "slotferry_keys_filtered_total"
	keysFailed    = "slotferry_keys_failed_total"
	keysDeleted   = "slotferry_keys_deleted_total"
	retriesMade   = "slotferry_retries_total"
	runsEnded     = "slotferry_runs_total"
)

// Figures that rise and fall, and what only grows by itself.
const (
	jobRunning       = "slotferry_job_running"
	jobPaused        = "slotferry_job_paused"
	jobFailures      = "slotferry_job_failures_in_a_row"
	jobSkipped       = "slotferry_job_skipped_runs_total"
	jobNext          = "slotferry_job_next_run_timestamp_seconds"
	lastSuccess      = "slotferry_last_success_timestamp_seconds"
	lagBytes         = "slotferry_lag_bytes"
	lagSeconds       = "slotferry_lag_seconds"
	stageSeconds     = "slotferry_stage_duration_seconds"
	differencesFound = "slotferry_differences_found"
)

// described are all metrics that the service has by itself. Each has the label
// job, and those here that one more.
var described = []struct{ name, label, help string }{
	{keysRead, "", "Keys read from the source."},
	{keysWritten, "master", "Keys that a master of the target has acknowledged."},
	{bytesWritten, "master", "Bytes of keys and serialized values that a master of the target has acknowledged."},
	{keysSkipped, "", "Keys left as they are on the target."},
	{keysUnchanged, "", "Keys that a mirror found as it had written them last; they are among the skipped ones."},
	{keysExpired, "", "Keys that expired or were deleted before their value was read."},
	{keysFiltered, "", "Keys left out by the choice of keys."},
	{keysFailed, "", "Keys that could not be written."},
	{keysDeleted, "", "Keys removed from the target since they are gone from the source."},
	{retriesMade, "kind", "What went wrong and was mended: redirections (moved, ask), pauses that a node asked for, connections lost, values restamped or rebuilt."},
	{runsEnded, "status", "Runs that have ended."},
	{jobRunning, "", "1 while a run is going on."},
	{jobPaused, "", "1 while the job is paused."},
	{jobFailures, "", "Runs in a row that came to nothing."},
	{jobSkipped, "", "Times of the schedule that came while the run before was still going on."},
	{jobNext, "", "When the job runs next, if that is known."},
	{lastSuccess, "", "When a run was done last, 0 if none was."},
	{lagBytes, "", "Bytes of commands that a live copy is behind its source."},
	{lagSeconds, "", "Seconds that a live copy is behind its source."},
	{stageSeconds, "stage", "Seconds spent in a stage of the run that is going on, or else of the last one."},
	{differencesFound, "", "Differences that the last run found between source and target."},
}

// collector shows the jobs as they are when they are asked for.
type collector struct {
	service *service.Service
	tally   *tally
	descs   map[string]*prometheus.Desc
}

// registry has all metrics of the process.
func (s *Site) registry() (*prometheus.Registry, error) {
	c := &collector{service: s.opts.Service, tally: s.tally, descs: map[string]*prometheus.Desc{}}
	for _, d := range described {
		labels := []string{"job"}
		if d.label != "" {
			labels = append(labels, d.label)
		}
		c.descs[d.name] = prometheus.NewDesc(d.name, d.help, labels, nil)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "slotferry_build_info", Help: "1, labelled with the version that runs.",
		ConstLabels: prometheus.Labels{"version": s.opts.Version, "go_version": runtime.Version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	for _, one := range []prometheus.Collector{
		c, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(one); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	put := func(kind prometheus.ValueType, name string, v float64, labels ...string) {
		if labels[len(labels)-1] == "" {
			labels = labels[:len(labels)-1]
		}
		m, err := prometheus.NewConstMetric(c.descs[name], kind, v, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(c.descs[name], err)
		}
		out <- m
	}
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	for _, job := range c.service.Jobs() {
		for of, n := range c.tally.fold(&job).total {
			put(prometheus.CounterValue, of.metric, float64(n), job.Name, of.label)
		}
		put(prometheus.CounterValue, jobSkipped, float64(job.Skipped), job.Name)
		for name, v := range gauges(&job) {
			put(prometheus.GaugeValue, name, v, job.Name)
		}
		for stage, seconds := range stages(&job) {
			put(prometheus.GaugeValue, stageSeconds, seconds, job.Name, stage)
		}
	}
}

// gauges are those of a job; what is not known is not there.
func gauges(job *service.JobView) map[string]float64 {
	v := map[string]float64{
		jobRunning: number(job.Current != nil), jobPaused: number(job.State == service.Paused),
		jobFailures: float64(job.Failures), lastSuccess: timestamp(job.LastSuccess), differencesFound: 0,
	}
	if !job.Next.IsZero() {
		v[jobNext] = timestamp(job.Next)
	}
	if job.Last != nil {
		v[differencesFound] = float64(job.Last.Differences)
	}
	if job.Current != nil && job.Current.Lag != nil {
		v[lagBytes], v[lagSeconds] = float64(job.Current.Lag.Bytes), job.Current.Lag.Seconds
	}
	return v
}

func stages(job *service.JobView) map[string]float64 {
	switch {
	case job.Current != nil:
		return job.Current.Stages
	case job.Last != nil:
		return job.Last.Stages
	}
	return nil
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
