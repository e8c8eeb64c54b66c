package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// Stop ends the server, waits for it and removes its folder. A second call does
// nothing.
func (s *Server) Stop() {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if s.opened.Load() {
		_ = s.client().Close()
	}
	s.end(false)
	releasePort(s.Port)
	s.removeFolders()
}

// end terminates the process, at once or after a chance to leave by itself, and
// waits for it.
func (s *Server) end(atOnce bool) {
	if !s.Running() {
		return
	}
	if !atOnce {
		_ = resumeProcess(s.PID())
		if terminateProcess(s.PID()) == nil {
			select {
			case <-*s.ended.Load():
				return
			case <-time.After(stopWait):
			}
		}
	}
	if p, err := os.FindProcess(s.PID()); err == nil {
		_ = p.Kill()
	}
	<-*s.ended.Load()
}

func (s *Server) removeFolders() {
	_ = os.RemoveAll(s.Dir)
	if s.socketDir != "" {
		_ = os.RemoveAll(s.socketDir)
	}
}

// Kill ends the server as a crash does (SIGKILL) and keeps its folder and port
// for Restart.
func (s *Server) Kill() error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if !s.Running() {
		return fmt.Errorf("server %s is not running", s.Addr)
	}
	s.end(true)
	return nil
}

// Restart starts the server again on the same port with the data of its folder.
// A running one is shut down first with its data saved; one that was killed has
// what was on disk.
func (s *Server) Restart(ctx context.Context) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if s.Running() {
		_ = resumeProcess(s.PID())
		if err := s.shutdown(ctx); err != nil {
			return err
		}
	}
	for {
		mark := len(s.Log())
		err := s.launch(ctx)
		if err == nil {
			return nil
		}
		s.end(true)
		// A passing connection may hold the port for a moment.
		if log := s.Log(); ctx.Err() != nil || !portTaken(log[min(mark, len(log)):]) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *Server) shutdown(ctx context.Context) error {
	o := s.ClientOptions()
	o.MaxRetries, o.ReadTimeout = -1, 10*time.Minute
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	// Success is a closed connection; a reply says why the server stays.
	err := c.ShutdownSave(ctx).Err()
	if _, refused := err.(redis.Error); refused {
		return fmt.Errorf("shutting %s down: %w", s.Addr, err)
	}
	select {
	case <-*s.ended.Load():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pause freezes the process (SIGSTOP) until Resume; connections stay open and
// nothing is answered.
func (s *Server) Pause() error { return s.signal(pauseProcess) }

// Resume lets a paused process go on.
func (s *Server) Resume() error { return s.signal(resumeProcess) }

func (s *Server) signal(send func(pid int) error) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if !s.Running() {
		return fmt.Errorf("server %s is not running", s.Addr)
	}
	return send(s.PID())
}

// Save writes the data set to the server's dump.rdb and returns its path. The
// file is replaced as a whole by the next save; copy it to keep it.
func (s *Server) Save(ctx context.Context) (string, error) {
	c := s.Client().WithTimeout(10 * time.Minute) // SAVE answers when it is done
	if err := c.Save(ctx).Err(); err != nil {
		return "", fmt.Errorf("saving the data of %s: %w", s.Addr, err)
	}
	return filepath.Join(s.Dir, "dump.rdb"), nil
}
