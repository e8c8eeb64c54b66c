package deploy

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rules is the form of a file of rule_files.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for,omitempty"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

// dashboard is what is looked at of Grafana's.
type dashboard struct {
	UID    string `json:"uid"`
	Panels []struct {
		ID      int    `json:"id"`
		Title   string `json:"title"`
		Targets []struct {
			Expr         string `json:"expr"`
			LegendFormat string `json:"legendFormat"`
		} `json:"targets"`
		GridPos struct{ X, Y, W, H int } `json:"gridPos"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

var (
	metric = regexp.MustCompile(`slotferry_[a-z_]+`)
	// declared is how service/web names a metric.
	declared = regexp.MustCompile(`"(slotferry_[a-z_]+)"`)
)

// known returns the names of all metrics of the service.
func known(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range declared.FindAllStringSubmatch(string(read(t, "../service/web/metrics.go")), -1) {
		out = append(out, m[1])
	}
	if len(out) < 15 {
		t.Fatalf("the service has only %q", out)
	}
	return out
}

// wantKnown looks that an expression asks for what there is, and is whole.
func wantKnown(t *testing.T, where, expr string, all []string) {
	t.Helper()
	for _, name := range metric.FindAllString(expr, -1) {
		if !slices.Contains(all, name) {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
	for _, pair := range []string{"()", "[]", "{}"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			t.Errorf("%s: %s of %s don't match", where, pair, expr)
		}
	}
}

func TestAlerts(t *testing.T) {
	var r rules
	if err := yaml.UnmarshalStrict(read(t, "prometheus/alerts.yaml"), &r); err != nil {
		t.Fatal(err)
	}
	all, seen := known(t), map[string]bool{}
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			if rule.Alert == "" || seen[rule.Alert] || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("alert %+v", rule)
			}
			seen[rule.Alert] = true
			if !slices.Contains([]string{"info", "warning", "critical"}, rule.Labels["severity"]) {
				t.Errorf("%s has the severity %q", rule.Alert, rule.Labels["severity"])
			}
			if !metric.MatchString(rule.Expr) {
				t.Errorf("%s asks for nothing: %s", rule.Alert, rule.Expr)
			}
			wantKnown(t, rule.Alert, rule.Expr, all)
			wantKnown(t, rule.Alert, rule.Annotations["description"], all)
		}
	}
	if len(seen) < 8 {
		t.Errorf("only %d alerts", len(seen))
	}
}

func TestDashboard(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal(read(t, "grafana/slotferry.json"), &d); err != nil {
		t.Fatal(err)
	}
	all, ids := known(t), map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			wantKnown(t, p.Title, target.Expr, all)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies over %q or the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, v := range d.Templating.List {
		text, err := json.Marshal(v.Query)
		if err != nil {
			t.Fatal(err)
		}
		wantKnown(t, "variable "+v.Name, string(text), all)
	}
	if len(d.Panels) < 10 || d.UID == "" {
		t.Errorf("%d panels, uid %q", len(d.Panels), d.UID)
	}
}
