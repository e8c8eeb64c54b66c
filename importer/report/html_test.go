package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"image/png"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/route"
)

func pageOf(t *testing.T, p *Plan) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	elements   = regexp.MustCompile(`(?s)<(style|script)([^>]*)>(.*?)</(?:style|script)>`)
	policy     = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`)
	references = regexp.MustCompile(`(?i)\b(?:src|srcset|href|action|data|poster|xlink:href)\s*=\s*["']?([^"'> ]*)|url\(([^)]*)\)|@import`)
)

// split takes a page's style sheet and scripts out of it.
func split(t *testing.T, page string) (rest string, parts map[string]string) {
	t.Helper()
	parts = map[string]string{}
	rest = elements.ReplaceAllStringFunc(page, func(e string) string {
		m := elements.FindStringSubmatch(e)
		name := m[1] + m[2]
		if _, twice := parts[name]; twice {
			t.Errorf("two elements <%s>", name)
		}
		parts[name] = m[3]
		return ""
	})
	if regexp.MustCompile(`(?i)<script|</script|<style`).MatchString(rest) {
		t.Error("an element is not where it should be")
	}
	return rest, parts
}

func TestPageLoadsNothing(t *testing.T) {
	for name, p := range plans() {
		t.Run(name, func(t *testing.T) {
			page := pageOf(t, p)
			rest, parts := split(t, page)
			own := html.UnescapeString(policy.FindStringSubmatch(page)[1])
			for _, want := range []string{"default-src 'none'", "style-src '" + hash(parts["style"]) + "'", "script-src '" + hash(parts["script"]) + "'"} {
				if !slices.Contains(strings.Split(own, "; "), want) {
					t.Errorf("policy %q lacks %q", own, want)
				}
			}
			for _, where := range []string{rest, parts["style"], parts["script"]} {
				for _, m := range references.FindAllString(where, -1) {
					if !strings.HasPrefix(m, `src="data:image/png;base64,`) {
						t.Errorf("refers to %.60q", m)
					}
				}
				if i := strings.Index(where, "http"); i >= 0 && !strings.HasPrefix(where[i:], "http-equiv") {
					t.Errorf("an address: %.60q", where[i:])
				}
			}
			for _, refused := range []string{" style=", " onclick=", " onload=", "ZgotmplZ"} {
				if strings.Contains(rest, refused) {
					t.Errorf("the page holds %q", refused)
				}
			}
		})
	}
}

func TestPageHoldsThePlan(t *testing.T) {
	for name, p := range plans() {
		_, parts := split(t, pageOf(t, p))
		var got Plan
		text := parts[`script type="application/json" id="plan"`]
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var want Plan
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the plan in the page differs", name)
		}
		if strings.ContainsAny(text, "<>&\u2028\u2029") {
			t.Errorf("%s: the JSON could be read as HTML", name)
		}
	}
}

// TestPageIsNotTooLarge fills everything that has a bound.
func TestPageIsNotTooLarge(t *testing.T) {
	p := &Plan{Keys: math.MaxInt64 / 2, Bytes: math.MaxInt64 / 2, Target: Target{MaxBulk: 512 << 20}}
	long := Text(strings.Repeat("\xff", nameBytes))
	for i := range route.Slots {
		p.Slots = append(p.Slots, Slot{i, int64(1e6 + i), int64(1e10 + i*i)})
	}
	for i := range 50 {
		p.Masters = append(p.Masters, Master{ID: strings.Repeat("f", 40), Addr: fmt.Sprintf("node-%d.cluster.internal:6379", i), Slots: 300, Keys: 1e9, Bytes: 1e12, Needs: 1e12, Free: 1e12})
	}
	for i := range ShownKeys {
		p.BigKeys = append(p.BigKeys, BigKey{Key: long, Type: "string", Bytes: 1e9, Slot: i, Master: p.Masters[i%50].Addr})
	}
	for range ShownPrefixes {
		p.Prefixes = append(p.Prefixes, Prefix{long[:prefixBytes], 1e9, 1e12})
	}
	for i := range ShownTags + TagsByKeys {
		p.HashTags = append(p.HashTags, Tag{long, i, 1e9, 1e12})
	}
	const most = 1_500_000
	if n := len(pageOf(t, p)); n > most {
		t.Errorf("%d bytes, want %d at most", n, most)
	}
}

func TestShade(t *testing.T) {
	for _, tc := range []struct{ value, low, most, want int64 }{
		{0, 1, 100, 0},
		{1, 1, 1, 7},
		{100, 1, 100, 7},
		{1, 1, 100, 1},
		{10, 1, 100, 4},
		{math.MaxInt64, 1, math.MaxInt64, 7},
		{2, 2, 2, 7},
	} {
		if got := shade(tc.value, tc.low, tc.most, 7); int64(got) != tc.want {
			t.Errorf("shade(%d of %d to %d) = %d, want %d", tc.value, tc.low, tc.most, got, tc.want)
		}
	}
}

func TestHeat(t *testing.T) {
	keys := func(s Slot) int64 { return s.Keys }
	for _, tc := range []struct {
		name      string
		slots     []Slot
		low, most int64
	}{
		{"none", nil, 0, 0},
		{"one key", []Slot{{16383, 1, 1}}, 1, 1},
		{"even", []Slot{{0, 90, 0}, {1, 100, 0}}, 7, 100}, // chance is not made to look like much
		{"uneven", []Slot{{0, 1, 0}, {1, 1e9, 0}}, 1, 1e9},
		{"out of range", []Slot{{-1, 3, 0}, {16384, 3, 0}}, 1, 3},
	} {
		h, err := newHeat(tc.slots, keys)
		if err != nil || h.Low != tc.low || h.Most != tc.most {
			t.Errorf("%s: %d to %d, %v; want %d to %d", tc.name, h.Low, h.Most, err, tc.low, tc.most)
		}
		for _, url := range []template.URL{h.Image, h.Legend} {
			data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(url), "data:image/png;base64,"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if url == h.Legend {
				continue
			}
			for i := range route.Slots {
				_, _, _, a := m.At(i%heatSide, i/heatSide).RGBA()
				here := a > 0
				if here != slices.ContainsFunc(tc.slots, func(s Slot) bool { return s.Slot == i }) {
					t.Errorf("%s: slot %d is drawn: %v", tc.name, i, here)
				}
			}
		}
	}
}

func TestBarChart(t *testing.T) {
	svg, err := barChart(`"a" & <b>`, []chartRow{
		{`"</svg><script>"`, math.MaxInt64, "much"}, {"none", 0, "0"}, {strings.Repeat("鍵", 90), 5, "5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]int{"<svg": 1, "</svg>": 1, "<script": 0, `class="bar"`: 3, `class="label"`: 3, "style": 0, "NaN": 0, "Inf": 0, ">much<": 1} {
		if got := strings.Count(string(svg), part); got != want {
			t.Errorf("%d × %q, want %d:\n%s", got, part, want, svg)
		}
	}
	for _, rows := range [][]chartRow{nil, {{"alone", 1, "1"}}} {
		if svg, err := barChart("few", rows); svg != "" || err != nil {
			t.Errorf("%d rows: %q, %v", len(rows), svg, err)
		}
	}
	if svg, err := barChart("zeros", []chartRow{{"a", 0, "0"}, {"b", 0, "0"}}); err != nil || strings.Contains(string(svg), "NaN") {
		t.Errorf("zeros: %v\n%s", err, svg)
	}
}
