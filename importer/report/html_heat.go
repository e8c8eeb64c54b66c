package report

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"math"

	"gonum.org/v1/plot/palette/brewer"

	"github.com/slotferry/slotferry/importer/route"
)

// heatSide is the side of the square in which the slots lie, row by row.
const heatSide = 128

// heat is the map of all slots by one measure.
type heat struct {
	Image  template.URL
	Legend template.URL
	Low    int64 // what the palest shade stands for
	Most   int64 // of a slot
}

// shades are the colours for few to many; the first is for none and lets the
// page be seen.
func shades() (color.Palette, error) {
	p, err := brewer.GetPalette(brewer.TypeSequential, "Blues", 9)
	if err != nil {
		return nil, err
	}
	// The palest two look like none.
	return append(color.Palette{color.Transparent}, p.Colors()[2:]...), nil
}

func newHeat(slots []Slot, measure func(Slot) int64) (heat, error) {
	colors, err := shades()
	if err != nil {
		return heat{}, err
	}
	var h heat
	for _, s := range slots {
		n := measure(s)
		if n > 0 && (h.Low == 0 || n < h.Low) {
			h.Low = n
		}
		h.Most = max(h.Most, n)
	}
	// Where all slots are nearly even, chance does not get the whole range.
	const narrowest = 16
	h.Low = min(h.Low, h.Most/narrowest+1)
	m := image.NewPaletted(image.Rect(0, 0, heatSide, heatSide), colors)
	for _, s := range slots {
		if s.Slot >= 0 && s.Slot < route.Slots {
			m.Pix[s.Slot] = uint8(shade(measure(s), h.Low, h.Most, len(colors)-1))
		}
	}
	if h.Image, err = dataURL(m); err != nil {
		return heat{}, err
	}
	legend := image.NewPaletted(image.Rect(0, 0, len(colors)-1, 1), colors)
	for i := range legend.Pix {
		legend.Pix[i] = uint8(i + 1)
	}
	h.Legend, err = dataURL(legend)
	return h, err
}

// shade returns 0 for none, else 1 (low) to n (most) by the logarithm, so that
// one very full slot does not make all others look alike.
func shade(value, low, most int64, n int) int {
	switch {
	case value <= 0:
		return 0
	case low >= most:
		return n
	}
	part := math.Log(float64(value)/float64(low)) / math.Log(float64(most)/float64(low))
	return 1 + int(math.Round(part*float64(n-1)))
}

func dataURL(m image.Image) (template.URL, error) {
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	if err := e.Encode(&b, m); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}
