package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

// The page has no part that is not in it: style sheet, script, pictures and the
// plan itself are written into one file, and its security policy lets nothing
// else be loaded.
var (
	//go:embed page.tmpl
	pageTemplate string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

var parsePage = template.Must(template.New("page").Funcs(template.FuncMap{
	"comma":   comma,
	"iec":     iec,
	"percent": percent,
	"factor":  factor,
	"lasting": lasting,
	"quoted":  quoted,
	"cut":     func(s string) string { return fit(s, nameColumns) },
	"clean":   clean,
	"when":    func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"label":   Master.label,
	"tight":   Master.tight,
	"prefix":  Prefix.label,
	"cause":   heavySlot.cause,
}).Parse(pageTemplate))

// How many bars a chart has at most. The tables have all.
const (
	chartMasters  = 20
	chartPrefixes = 15
	chartCauses   = 10
	nameColumns   = 120 // of a name in a table; the whole stands in the JSON
)

// view is the plan as the template takes it.
type view struct {
	*Plan
	Policy  string
	Style   template.CSS
	Script  template.JS
	JSON    template.JS
	Verdict string
	Rest    string
	Side    struct{ Source, Target string }

	HeatKeys, HeatBytes heat
	Balance             string
	Heavy               []heavySlot
	Kinds               []counted
	Expiries            []counted
	DBs                 []counted
	Doubts              []string
	Memory              bool // of masters is known
	Charts              charts
}

// charts has two of each that counts keys and bytes.
type charts struct {
	MasterKeys, MasterBytes template.HTML
	PrefixKeys, PrefixBytes template.HTML
	TypeKeys, TypeBytes     template.HTML
	Expiry                  template.HTML
}

// WriteHTML writes the plan as one file that needs nothing else, and no network.
func (p *Plan) WriteHTML(w io.Writer) error {
	v, err := p.view()
	if err != nil {
		return fmt.Errorf("writing the plan as HTML: %w", err)
	}
	var b bytes.Buffer
	if err := parsePage.Execute(&b, v); err != nil {
		return fmt.Errorf("writing the plan as HTML: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func (p *Plan) view() (*view, error) {
	v := &view{
		Plan:  p,
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Policy: "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'" +
			"; style-src '" + hash(pageStyle) + "'; script-src '" + hash(pageScript) + "'",
		Balance: p.balance(), Heavy: p.heavySlots(chartCauses),
		Kinds: p.types(), Expiries: p.expiries(), DBs: p.databases(),
		Doubts: p.doubts(),
		Memory: slices.ContainsFunc(p.Masters, func(m Master) bool { return m.Needs > 0 || m.Free > 0 }),
	}
	v.Verdict, _, v.Rest = p.verdict()
	v.Side.Source = cmp.Or(clean(p.Source.Text), "not named") + inBrackets(p.Source.facts())
	v.Side.Target = clean(p.target())
	// Marshal writes <, >, &, U+2028 and U+2029 as escapes, so that nothing in
	// it can end the script element.
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	v.JSON = template.JS(data)
	if v.HeatKeys, err = newHeat(p.Slots, func(s Slot) int64 { return s.Keys }); err != nil {
		return nil, err
	}
	if v.HeatBytes, err = newHeat(p.Slots, func(s Slot) int64 { return s.Bytes }); err != nil {
		return nil, err
	}
	v.Charts, err = p.charts()
	return v, err
}

// hash names a text in a content security policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (p *Plan) charts() (c charts, err error) {
	draw := func(to *template.HTML, title string, rows []chartRow) {
		if err == nil {
			*to, err = barChart(title, rows)
		}
	}
	masters := p.Masters
	if len(masters) > chartMasters {
		masters = p.byBytes(chartMasters)
	}
	prefixes := p.Prefixes[:min(chartPrefixes, len(p.Prefixes))]
	types, expiries := p.types(), p.expiries()
	if p.Keys > 0 && p.spread() {
		draw(&c.MasterKeys, "keys by master", byKeys(masters, Master.counted))
		draw(&c.MasterBytes, "bytes by master", byBytes(masters, Master.counted))
	}
	if p.prefixed() {
		draw(&c.PrefixKeys, "keys by prefix", byKeys(prefixes, Prefix.counted))
		draw(&c.PrefixBytes, "bytes by prefix", byBytes(prefixes, Prefix.counted))
	}
	same := func(x counted) counted { return x }
	draw(&c.TypeKeys, "keys by type", byKeys(types, same))
	draw(&c.TypeBytes, "bytes by type", byBytes(types, same))
	if p.TTL != (TTL{}) {
		draw(&c.Expiry, "keys by the time that they have left", byKeys(expiries, same))
	}
	return c, err
}

func (m Master) counted() counted { return counted{m.label(), m.Keys, m.Bytes} }
func (x Prefix) counted() counted { return counted{x.label(), x.Keys, x.Bytes} }

func byKeys[T any](list []T, of func(T) counted) (rows []chartRow) {
	for _, x := range list {
		c := of(x)
		rows = append(rows, chartRow{label: c.Name, value: c.Keys, shown: comma(c.Keys)})
	}
	return rows
}

func byBytes[T any](list []T, of func(T) counted) (rows []chartRow) {
	for _, x := range list {
		c := of(x)
		rows = append(rows, chartRow{label: c.Name, value: c.Bytes, shown: iec(c.Bytes)})
	}
	return rows
}

// Mark says why a key will not travel as it is; "" if it will.
func (v *view) Mark(k BigKey) string {
	switch {
	case v.tooLarge(k):
		return "over proto-max-bulk-len, " + iec(v.Target.MaxBulk)
	case v.tooSlow(k):
		return "longer on its way than --retry-for"
	}
	return ""
}
