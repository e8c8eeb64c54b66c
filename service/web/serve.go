package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// ServeOptions is a site at an address.
type ServeOptions struct {
	Options
	Listen          string // host:port; port 0 takes a free one
	TLSCert, TLSKey string // files; none: plain HTTP
	Listening       func(net.Addr)
}

// Serve answers requests at an address until ctx ends; it returns when those
// that were going on have been answered.
func Serve(ctx context.Context, o ServeOptions) error {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	secure, err := newCertificate(o.TLSCert, o.TLSKey)
	if err != nil {
		return err
	}
	at, err := net.ResolveTCPAddr("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	o.Loopback = at.IP.IsLoopback()
	site, err := New(o.Options)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: the port is in use, perhaps by another slotferry serve; choose another one with http.listen", o.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	defer l.Close()
	errorLog, err := zap.NewStdLogAt(o.Log, zap.DebugLevel)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           site,
		ErrorLog:          errorLog, // clients that speak TLS badly, or leave
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		// Writing has deadlines of its own: a stream of events has no end.
	}
	if secure != nil {
		server.TLSConfig = &tls.Config{GetCertificate: secure.get, MinVersion: tls.VersionTLS12}
	}
	if o.Listening != nil {
		o.Listening(l.Addr())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return site.Run(ctx) })
	g.Go(func() error {
		if secure != nil {
			return over(server.ServeTLS(l, "", ""))
		}
		return over(server.Serve(l))
	})
	g.Go(func() error {
		<-ctx.Done()
		site.end()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			return server.Close()
		}
		return nil
	})
	return g.Wait()
}

func over(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
