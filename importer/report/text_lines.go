package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/mattn/go-runewidth"
)

// columns measures text by the columns of a terminal. What it does must not
// depend on the environment, as the library's defaults do.
var columns = &runewidth.Condition{StrictEmojiNeutral: true}

// comma writes a count with thousands separators.
func comma(n int64) string { return humanize.Comma(n) }

// iec writes a number of bytes in powers of 1024.
func iec(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// percent writes a share of the whole.
func percent(n, of int64) string {
	if of <= 0 || n <= 0 {
		return "0 %"
	}
	switch p := 100 * float64(n) / float64(of); {
	case n == of:
		return "100 %"
	case p < 0.1:
		return "< 0.1 %"
	case p > 99.9:
		return "> 99.9 %"
	default:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
}

// lasting writes a duration as roughly as it is known.
func lasting(seconds float64) string {
	// NaN and what no clock counts end here too.
	if !(seconds < 1e9) {
		return "longer than can be told"
	}
	d := time.Duration(math.Ceil(seconds)) * time.Second
	switch {
	case seconds <= 1:
		return "a second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", (d+time.Minute-1)/time.Minute)
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}

// plural writes a count with its noun.
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return comma(n) + " " + one + "s"
}

// quoted writes a name of bytes as Go does, so that no byte of it reaches the
// terminal as a control.
func quoted(name Text) string { return strconv.Quote(string(name)) }

// clean escapes what is not printable in text that is not a name.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// fit cuts text to a width, with … for what is gone.
func fit(s string, width int) string {
	return columns.Truncate(s, max(1, width), "…")
}

// wrap breaks text between words into lines no wider than width. A longer word
// is broken inside.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		word = clean(word)
		if line != "" && columns.StringWidth(line)+1+columns.StringWidth(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		parts := strings.Split(columns.Wrap(word, width), "\n")
		lines = append(lines, parts[:len(parts)-1]...)
		line = parts[len(parts)-1]
	}
	if line != "" || lines == nil {
		lines = append(lines, line)
	}
	return lines
}

// bar draws a share of the largest value in eighths of a column. What is above
// zero is seen.
func bar(n, largest int64, width int) string {
	if n <= 0 || largest <= 0 {
		return ""
	}
	eighths := max(1, int(math.Round(float64(n)/float64(largest)*float64(8*width))))
	return strings.Repeat("█", eighths/8) + []string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}[eighths%8]
}

// style is how text stands out on a terminal that has colours.
type style string

const (
	plain   style = ""
	bold    style = "\x1b[1m"
	good    style = "\x1b[1;32m"
	bad     style = "\x1b[1;31m"
	caution style = "\x1b[33m"
	drawn   style = "\x1b[36m"
)

// lines gathers text of a given width.
type lines struct {
	strings.Builder
	width int
	color bool
}

// cell is a piece of a line.
type cell struct {
	text string
	style
}

// line writes cells one behind the other, cut to the width, without blanks at
// the end.
func (l *lines) line(cells ...cell) {
	last := len(cells)
	for last > 0 && strings.TrimRight(cells[last-1].text, " ") == "" {
		last--
	}
	left := l.width
	for i, c := range cells[:last] {
		if i == last-1 {
			c.text = strings.TrimRight(c.text, " ")
		}
		if w := columns.StringWidth(c.text); w <= left {
			left -= w
		} else if left > 0 {
			c.text, left = fit(c.text, left), 0
		} else {
			break
		}
		if l.color && c.style != plain && c.text != "" {
			c.text = string(c.style) + c.text + "\x1b[0m"
		}
		l.WriteString(c.text)
	}
	l.WriteByte('\n')
}

// title begins a section.
func (l *lines) title(text string) {
	l.line()
	l.line(cell{text, bold})
}

// field writes a name and its text, wrapped beside it.
func (l *lines) field(name, text string) { l.indented(fieldName(name), text) }

// fieldName pads a name to where its text begins.
func fieldName(name string) string { return fmt.Sprintf("%-13s", name) }

// note writes text below a table.
func (l *lines) note(text string) { l.indented("  ", text) }

// indented writes text behind what stands before its first line.
func (l *lines) indented(first, text string) {
	indent := columns.StringWidth(first)
	for _, line := range wrap(text, l.width-indent) {
		l.line(cell{first, plain}, cell{line, plain})
		first = strings.Repeat(" ", indent)
	}
}

func (l *lines) to(w io.Writer) error {
	_, err := io.WriteString(w, l.String())
	return err
}
