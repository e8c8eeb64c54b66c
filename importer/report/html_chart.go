package report

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chartRow is one bar of a chart.
type chartRow struct {
	label string
	value int64
	shown string // the value as it is written behind the bar
}

// Sizes in the picture's own units, which are a page's pixels where it is wide
// enough.
const (
	chartWidth  = 420
	chartLabel  = 22 // columns of a label
	chartStep   = 22 // from bar to bar
	chartBar    = 14
	chartFont   = 15 // the page writes 13: its font may be wider than the one measured here
	chartMargin = 4
	valueRoom   = 1.32 // of the longest bar, so that its value fits behind it
)

// The page's style sheet gives the colours, by light and dark. In the library's
// output these stand for a kind of thing.
var (
	barColor   = color.RGBA{0x01, 0x01, 0x01, 0xff}
	labelColor = color.RGBA{0x02, 0x02, 0x02, 0xff}
)

// barChart draws rows from above, as an SVG that takes its colours and font from
// the page. One row alone has nothing to be compared with and gives "".
func barChart(title string, rows []chartRow) (template.HTML, error) {
	if len(rows) < 2 {
		return "", nil
	}
	// The library counts from below.
	rows = slices.Clone(rows)
	slices.Reverse(rows)
	p := plot.New()
	p.BackgroundColor = nil
	p.HideX()
	p.X.Padding = 0
	p.X.Min, p.X.Max = 0, 1
	labels := make([]string, len(rows))
	for i, r := range rows {
		labels[i] = fit(r.label, chartLabel)
		p.X.Max = max(p.X.Max, float64(r.value)*valueRoom)
	}
	style := p.Y.Tick.Label
	style.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: chartFont}
	// Labels end at their place, in whatever font the page has: the style sheet
	// says so. For the library they begin there.
	p.Y.Tick.Label = style
	p.Y.Tick.Label.XAlign = text.XLeft
	p.Y.Tick.Label.YAlign = text.YCenter
	p.Y.Tick.Label.Color = labelColor
	p.NominalY(labels...)
	p.Y.Min, p.Y.Max = -0.5, float64(len(rows))-0.5
	p.Y.Padding = 0
	if err := errors.Join(addBars(p, rows), addValues(p, rows, style)); err != nil {
		return "", fmt.Errorf("drawing %s: %w", title, err)
	}
	height := vg.Length(len(rows)*chartStep + 2*chartMargin)
	c := vgsvg.NewWith(vgsvg.UseWH(chartWidth, height))
	p.Draw(draw.Crop(draw.New(c), chartMargin, -chartMargin, chartMargin, -chartMargin))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", fmt.Errorf("drawing %s: %w", title, err)
	}
	return forPage(title, b.String(), int(height)), nil
}

func addBars(p *plot.Plot, rows []chartRow) error {
	values := make(plotter.Values, len(rows))
	for i, r := range rows {
		values[i] = float64(r.value)
	}
	b, err := plotter.NewBarChart(values, chartBar)
	if err != nil {
		return err
	}
	b.Horizontal = true
	b.LineStyle.Width = 0
	b.Color = barColor
	p.Add(b)
	return nil
}

// addValues writes each value behind its bar.
func addValues(p *plot.Plot, rows []chartRow, style text.Style) error {
	at := plotter.XYLabels{}
	for i, r := range rows {
		at.XYs = append(at.XYs, plotter.XY{X: float64(r.value), Y: float64(i)})
		at.Labels = append(at.Labels, r.shown)
	}
	l, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	for i := range l.TextStyle {
		l.TextStyle[i].Font = style.Font
		l.TextStyle[i].XAlign = text.XLeft
		l.TextStyle[i].YAlign = text.YCenter
	}
	l.Offset = vg.Point{X: 5, Y: 2.5} // to the height at which the labels are
	p.Add(l)
	return nil
}

var (
	svgHead  = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)
	svgStyle = regexp.MustCompile(`\s*style="([^"]*)"`)
)

// forPage makes an SVG file into a part of a page: without sizes in points, and
// with classes in place of styles, which the page's security policy refuses.
func forPage(title, svg string, height int) template.HTML {
	svg = svgHead.ReplaceAllLiteralString(svg, fmt.Sprintf(`<svg class="chart" role="img" aria-label="%s" viewBox="0 0 %d %d">`,
		html.EscapeString(title), chartWidth, height))
	svg = svgStyle.ReplaceAllStringFunc(svg, func(style string) string {
		switch {
		case strings.Contains(style, "fill:#010101"):
			return ` class="bar"`
		case strings.Contains(style, "fill:#020202"):
			return ` class="label"`
		case strings.Contains(style, "stroke:"):
			return ` class="axis"`
		}
		return ""
	})
	return template.HTML(svg)
}
