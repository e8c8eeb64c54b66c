package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // schedules name zones, also where the system knows none

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/service"
	"github.com/slotferry/slotferry/service/history"
	"github.com/slotferry/slotferry/service/web"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run jobs by a schedule, with a dashboard, an API, metrics and alerts",
		Long: `Run the jobs of a file: once, by a schedule, or following a source without an end.
Their state and past runs are shown by a dashboard and an API, and told to
Prometheus. SIGHUP has the file read again; SIGTERM stops all jobs with a
checkpoint, and the next start goes on there.`,
		Example: `  slotferry serve --config /etc/slotferry/slotferry.yaml

  # only look whether the file is right
  slotferry serve --config slotferry.yaml --check`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, _ := cmd.Flags().GetString("config")
			check, _ := cmd.Flags().GetBool("check")
			mode, _ := cmd.Flags().GetString("output")
			c, err := loadService(path, mode)
			if err != nil {
				return err
			}
			out := newOutput(mode, cmd.OutOrStdout(), os.Stderr)
			defer out.close()
			for _, w := range c.Warnings {
				out.log.Warn(w)
			}
			if check {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing is wrong with it (%d jobs)\n", path, len(c.Jobs))
				return err
			}
			return serve(cmd.Context(), path, c, out.log)
		},
	}
	cmd.Flags().String("config", os.Getenv("SLOTFERRY_CONFIG"), "the service's settings and jobs, in `FILE` (YAML)")
	cmd.Flags().Bool("check", false, "only tell what is wrong with the file")
	cmd.Flags().String("output", "auto", "`HOW` to log: text, json (one object a line), or auto: text")
	cmd.SetUsageFunc(usage)
	cmd.SetHelpFunc(help)
	return cmd
}

func loadService(path, mode string) (*configs.Service, error) {
	switch {
	case path == "":
		return nil, &usageError{errors.New("--config: it is missing; name a YAML file (configs/serve.example.yaml shows what it takes)")}
	case mode != "auto" && mode != "text" && mode != "json":
		return nil, &usageError{fmt.Errorf("--output: %q is not known; choose auto, text or json", mode)}
	}
	c, err := configs.LoadService(path, configs.Environment{})
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// serve runs a service until ctx ends.
func serve(ctx context.Context, path string, c *configs.Service, log *zap.Logger) error {
	limitService(c)
	store, err := history.Open(c.Folder, history.Options{Keep: c.Keep, Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	alerts := service.NewAlerts(service.AlertOptions{
		Webhook: c.Alerts.Webhook, Token: c.Alerts.Token, Command: c.Alerts.Command, On: c.Alerts.On, Log: log,
	})
	s, err := service.New(service.Options{Jobs: serviceJobs(c), History: store, Alerts: alerts, Lag: c.Alerts.Lag, Log: log})
	if err != nil {
		return err
	}
	// Alerts go on until all jobs have ended.
	telling, quiet := context.WithCancel(context.WithoutCancel(ctx))
	defer quiet()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		alerts.Run(telling)
		return nil
	})
	g.Go(func() error {
		defer quiet()
		return s.Run(ctx)
	})
	g.Go(func() error { return serveHTTP(ctx, s, c, log) })
	g.Go(func() error {
		reloadOnSignal(ctx, path, c, s, log)
		return nil
	})
	log.Info("the service has begun", zap.Int("jobs", len(c.Jobs)), zap.String("folder", c.Folder))
	err = g.Wait()
	log.Info("the service has ended")
	return err
}

// reloadOnSignal reads the file again at each SIGHUP. What is wrong changes
// nothing.
func reloadOnSignal(ctx context.Context, path string, now *configs.Service, s *service.Service, log *zap.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		c, err := configs.LoadService(path, configs.Environment{})
		if err == nil && c.Folder != now.Folder {
			err = fmt.Errorf("folder: it can't be changed from %s while the service runs; stop it first", now.Folder)
		}
		if err == nil {
			err = s.Reload(serviceJobs(c))
		}
		if err != nil {
			log.Error("the settings were read again, but nothing is changed", zap.String("file", path), zap.Error(err))
			continue
		}
		for _, w := range c.Warnings {
			log.Warn(w)
		}
		if c.HTTP != now.HTTP || c.Keep != now.Keep || !sameAlerts(c.Alerts, now.Alerts) {
			log.Warn("http, history and alerts have changed, too; that takes a restart")
		}
		limitService(c)
		log.Info("the settings were read again", zap.String("file", path), zap.Int("jobs", len(c.Jobs)))
	}
}

func sameAlerts(a, b configs.Alerts) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// limitService keeps the process under what its jobs may take together.
func limitService(c *configs.Service) {
	const itself = 64 << 20 // history, HTTP, metrics
	memory := int64(itself)
	for _, j := range c.Jobs {
		memory += j.Import.Memory
	}
	debug.SetMemoryLimit(memory * 9 / 10)
}

// serveHTTP answers until ctx ends.
func serveHTTP(ctx context.Context, s *service.Service, c *configs.Service, log *zap.Logger) error {
	return web.Serve(ctx, web.ServeOptions{
		Options: web.Options{Service: s, Token: c.HTTP.Token, Version: versionText(), Pprof: c.HTTP.Pprof, Log: log},
		Listen:  c.HTTP.Listen, TLSCert: c.HTTP.TLSCert, TLSKey: c.HTTP.TLSKey,
		Listening: func(a net.Addr) { log.Info("listening", zap.String("address", a.String())) },
	})
}
