package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The setting that switches notifications on, and what has to be in it
// (https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/).
const (
	parameter = "notify-keyspace-events"
	all       = 'A' // every class that stands for a change
	classes   = "g$lshzxet"
	event     = 'E' // messages that are keys
	space     = 'K' // channels that are keys
)

// endWait bounds what is done after Run was told to end.
const endWait = 5 * time.Second

// setting is notify-keyspace-events of the server, as far as it was changed.
type setting struct {
	unknown        bool // the user may not ask
	changed        bool
	before, during string
}

// lacking returns which of the flags are missing, "" for none.
func lacking(flags string) string {
	missing := ""
	if !strings.ContainsRune(flags, all) {
		for _, class := range classes {
			if !strings.ContainsRune(flags, class) {
				missing = string(all)
			}
		}
	}
	if !strings.ContainsRune(flags, event) && !strings.ContainsRune(flags, space) {
		missing += string(event)
	}
	return missing
}

// patterns returns what to subscribe to under some flags.
func patterns(flags string, unknown bool) []string {
	switch {
	case unknown:
		return []string{keyevent, keyspace}
	case strings.ContainsRune(flags, event):
		return []string{keyevent}
	}
	return []string{keyspace}
}

// flags asks for the setting. unknown means that the user may not.
func (l *Listener) flags(ctx context.Context) (flags string, unknown bool, err error) {
	answer, err := l.client.ConfigGet(ctx, parameter).Result()
	var reply redis.Error
	switch {
	case err == nil:
		flags, there := answer[parameter]
		return flags, !there, nil
	case errors.As(err, &reply) && closed(err.Error()):
		return "", true, nil
	}
	return "", false, err
}

// closed reports whether a reply says that a command is not to be had: by the
// user's rights, or because it was renamed.
func closed(reply string) bool {
	return strings.HasPrefix(reply, "NOPERM") || strings.Contains(reply, "unknown command") || strings.Contains(reply, "unknown subcommand")
}

// switchOn sees that notifications are on, and tells what to subscribe to.
func (l *Listener) switchOn(ctx context.Context) ([]string, error) {
	flags, unknown, err := l.flags(ctx)
	if err != nil {
		return nil, err
	}
	l.config.unknown = unknown
	missing := lacking(flags)
	switch {
	case unknown && l.opts.Assume:
		return patterns("", true), nil
	case unknown:
		return nil, fmt.Errorf("%w: the user may not ask whether keyspace notifications are on", ErrDenied)
	case missing == "":
		return patterns(flags, false), nil
	case !l.opts.Enable:
		return nil, fmt.Errorf("%w: keyspace notifications are off: %s", ErrDenied, command(flags))
	}
	if err := l.client.ConfigSet(ctx, parameter, flags+missing).Err(); err != nil {
		return nil, fmt.Errorf("%w: switching keyspace notifications on: %w", ErrDenied, err)
	}
	if !l.config.changed {
		l.config.before, l.config.changed = flags, true
	}
	l.log.Info("keyspace notifications were switched on", zap.Stringer("source", l.opts.Endpoint), zap.String("before", flags))
	if l.config.during, _, err = l.flags(ctx); err != nil {
		return nil, err
	}
	return patterns(l.config.during, false), nil
}

// switchBack undoes switchOn, unless somebody else has changed the setting
// since.
func (l *Listener) switchBack(ctx context.Context) {
	l.counting.mu.Lock()
	defer l.counting.mu.Unlock()
	if !l.config.changed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer cancel()
	now, _, err := l.flags(ctx)
	if err == nil && now == l.config.during {
		err = l.client.ConfigSet(ctx, parameter, l.config.before).Err()
	}
	if err != nil {
		l.log.Warn("keyspace notifications stay on", zap.Stringer("source", l.opts.Endpoint), zap.Error(err),
			zap.String("remedy", fmt.Sprintf("CONFIG SET %s %q", parameter, l.config.before)))
		return
	}
	l.config = setting{}
}

// command is what switches notifications on where the flags are some.
func command(flags string) string {
	return fmt.Sprintf("CONFIG SET %s %s", parameter, flags+lacking(flags))
}
