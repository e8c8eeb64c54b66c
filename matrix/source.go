package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// source is a server filled with every kind of value that it knows, and the
// file that it saved.
type source struct {
	*version
	server    *sandbox.Server
	file      string
	keys      map[string]value
	libraries []string // sorted
}

// value is what a server says of one key.
type value struct {
	typeName string // as TYPE says
	rdb      uint16 // version in the footer of its DUMP
	typ      byte   // RDB type
	body     []byte
	vectors  []string // of a vector set: what its commands say
	expireAt int64    // Unix milliseconds, 0 for never
}

// kind names the kind of a key.
func kindOf(key string) string {
	name, _, _ := strings.Cut(key, ":")
	return name
}

func (v value) vendor() rdbparse.Vendor {
	if v.rdb >= rdbparse.FirstValkey {
		return rdbparse.Valkey
	}
	return rdbparse.Redis
}

// startSource starts a server and fills it.
func startSource(ctx context.Context, dir string, v *version) (_ *source, err error) {
	s := &source{version: v, keys: map[string]value{}}
	if s.server, err = sandbox.Start(ctx, sandbox.Options{Binary: v.binary, Dir: dir}); err != nil {
		return nil, fmt.Errorf("starting %s: %w", v.title, err)
	}
	defer func() {
		if err != nil {
			s.server.Stop()
			err = fmt.Errorf("%s as a source: %w", v.title, err)
		}
	}()
	c := s.server.Client()
	expiries, err := fill(ctx, c, v)
	if err != nil {
		return nil, err
	}
	saved, err := s.server.Save(ctx) // before a look at the expired key removes it
	if err != nil {
		return nil, err
	}
	s.file = filepath.Join(dir, v.name+".rdb") // or a full copy for a replica would replace it
	if err := os.Rename(saved, s.file); err != nil {
		return nil, err
	}
	names, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		got, err := read(ctx, c, name)
		if err != nil {
			return nil, err
		}
		got.expireAt = expiries[name]
		s.keys[name] = got
		if got.rdb != v.dump {
			return nil, fmt.Errorf("key %q: DUMP is of RDB version %d, not %d", name, got.rdb, v.dump)
		}
	}
	if v.functions {
		s.libraries, err = libraries(ctx, c)
	}
	return s, err
}

// read asks for type and value of a key that is there.
func read(ctx context.Context, c redis.Cmdable, name string) (value, error) {
	typeName, err := c.Type(ctx, name).Result()
	if err != nil {
		return value{}, fmt.Errorf("TYPE %q: %w", name, err)
	}
	payload, err := c.Dump(ctx, name).Result()
	if err != nil {
		return value{}, fmt.Errorf("DUMP %q: %w", name, err)
	}
	v := value{typeName: typeName}
	if v.typ, v.body, v.rdb, err = rdbparse.SplitPayload([]byte(payload)); err != nil {
		return v, fmt.Errorf("DUMP %q: %w", name, err)
	}
	if v.typ == typeModule {
		v.vectors, err = vectors(ctx, c, name)
	}
	return v, err
}

// vectors says what a vector set holds: its bytes are others after each load.
func vectors(ctx context.Context, c redis.Cmdable, name string) ([]string, error) {
	members, err := c.VRandMemberCount(ctx, name, 1000).Result()
	if err != nil {
		return nil, fmt.Errorf("VRANDMEMBER %q: %w", name, err)
	}
	slices.Sort(members)
	for i, m := range members {
		vector, err := c.VEmb(ctx, name, m, false).Result()
		if err != nil {
			return nil, fmt.Errorf("VEMB %q %q: %w", name, m, err)
		}
		members[i] += fmt.Sprint(" ", vector)
	}
	return members, nil
}

// libraries returns the code of all function libraries, sorted.
func libraries(ctx context.Context, c *redis.Client) ([]string, error) {
	list, err := c.FunctionList(ctx, redis.FunctionListQuery{WithCode: true}).Result()
	if err != nil {
		return nil, fmt.Errorf("listing functions: %w", err)
	}
	var code []string
	for _, l := range list {
		code = append(code, l.Code)
	}
	slices.Sort(code)
	return code, nil
}

// difference says how got differs from v, "" if it doesn't. Values whose bytes
// differ are decoded; of a vector set, its members and their vectors count. lost
// is what a value that was rebuilt can't keep.
func (v value) difference(got value, how way) (text string, lost []string, err error) {
	if v.typeName != got.typeName {
		return fmt.Sprintf("it is a %s, not a %s", got.typeName, v.typeName), nil, nil
	}
	if v.vendor() == got.vendor() && v.typ == got.typ && slices.Equal(v.body, got.body) {
		return "", nil, nil
	}
	if v.typ == typeModule {
		if len(v.vectors) == 0 || !slices.Equal(v.vectors, got.vectors) {
			text = fmt.Sprintf("vectors %v, not %v", got.vectors, v.vectors)
		}
		return text, nil, nil
	}
	a, err := decode.Decode(v.vendor(), v.typ, v.body)
	if err != nil {
		return "", nil, fmt.Errorf("in the source: %w", err)
	}
	b, err := decode.Decode(got.vendor(), got.typ, got.body)
	if err != nil {
		return "", nil, fmt.Errorf("in the target: %w", err)
	}
	if (how == rebuilt || how == followed) && a.Stream != nil && b.Stream != nil {
		lost = losses(a.Stream, b.Stream)
	}
	if how == followed && a.Stream != nil && b.Stream != nil {
		forgetIdle(a.Stream, b.Stream)
	}
	return decode.Difference(a, b), lost, nil
}
