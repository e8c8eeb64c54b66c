package endpoint

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/slotferry/slotferry/internal/sandbox"
)

func TestString(t *testing.T) {
	for _, tc := range []struct {
		e    Endpoint
		want string
	}{
		{Endpoint{Addr: "127.0.0.1:6379", Username: "u", Password: secret}, "redis://127.0.0.1:6379"},
		{Endpoint{Network: "tcp", Addr: "[::1]:6379", TLS: &tls.Config{}}, "rediss://[::1]:6379"},
		{Endpoint{Network: "unix", Addr: "/run/redis.sock", Password: secret}, "unix:///run/redis.sock"},
		{Endpoint{Network: "unix", Addr: "/run/redis.sock", Username: "u"}.With("h:1"), "redis://h:1"},
	} {
		if got := tc.e.String(); got != tc.want {
			t.Errorf("String() = %q, want %q", got, tc.want)
		}
	}
}

func TestPasswordIsNeverPrinted(t *testing.T) {
	const secret = "marker"
	e := Endpoint{Addr: "host:6379", Username: "u", Password: secret}
	client := e.Client()
	defer client.Close()
	type holder struct{ Endpoint Endpoint }
	printed := map[string]string{}
	for _, v := range []any{e, &e, holder{e}, []Endpoint{e}, map[string]Endpoint{"x": e}, client} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if v == any(client) && verb != "%v" && verb != "%s" {
				continue // its own String only
			}
			printed[fmt.Sprintf("%T %s", v, verb)] = fmt.Sprintf(verb, v)
		}
	}
	for name, v := range map[string]any{"json": e, "json in a struct": holder{e}, "json of a pointer": &e} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed[name] = string(text)
	}
	var log bytes.Buffer
	zapped := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&log), zap.DebugLevel))
	zapped.Info("x", zap.Any("e", e), zap.Reflect("r", e), zap.Stringer("s", e), zap.Any("h", holder{e}))
	zapped.Sugar().Infow("x", "e", e, "p", &e)
	printed["zap"] = log.String()
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "e", e, "h", holder{e})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "e", e, "h", holder{e})
	printed["slog"] = log.String()
	for how, text := range printed {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s shows the password: %s", how, text)
		}
		if text == "" {
			t.Errorf("%s shows nothing", how)
		}
	}
	if got := printed["json"]; got != `"redis://host:6379"` {
		t.Errorf("json is %s", got)
	}
}

func TestClientKeepsToTheBasics(t *testing.T) {
	client := start(t, sandbox.Options{}).Client()
	defer client.Close()
	ctx := t.Context()
	info, err := client.ClientInfo(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	if info.DB != 0 || info.Name != "" {
		t.Errorf("client is %+v", info)
	}
	stats, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"client|setinfo", "client|maint_notifications", "client|setname", "select"} {
		if strings.Contains(stats, "cmdstat_"+command+":") {
			t.Errorf("the client sent %s", command)
		}
	}
}
