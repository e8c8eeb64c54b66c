package report

import "strings"

// kind is what a column of a table holds.
type kind int

const (
	number kind = iota // to the right
	word               // to the left
	name               // to the left, cut when there is not room enough
	chart              // bars, in what room is left
)

// column is one column of a table. Those of kind chart take values, the others
// texts.
type column struct {
	kind
	head   string
	texts  []string
	values []int64
	style
}

const (
	tableIndent = 2
	tableGap    = 2
	leastName   = 12
	leastBar    = 4
	mostBar     = 24
)

// table writes columns below their heads. Rows are as many as the first column
// has.
func (l *lines) table(cols ...column) {
	widths := l.widths(cols)
	var heads []cell
	for i, c := range cols {
		heads = append(heads, l.cell(c, c.head, widths[i], i, plain))
	}
	l.line(heads...)
	for row := range cols[0].texts {
		var cells []cell
		for i, c := range cols {
			text := ""
			switch {
			case widths[i] == 0:
			case c.kind == chart:
				text = bar(c.values[row], largest(c.values), widths[i])
			default:
				text = c.texts[row]
			}
			cells = append(cells, l.cell(c, text, widths[i], i, c.style))
		}
		l.line(cells...)
	}
}

// cell pads a text to its column.
func (l *lines) cell(c column, text string, width, i int, s style) cell {
	before := tableGap
	switch {
	case width == 0:
		return cell{}
	case i == 0:
		before = tableIndent
	case c.kind == chart:
		before = 1 // a bar belongs to the number before it
	}
	text = fit(text, width)
	blank := strings.Repeat(" ", width-columns.StringWidth(text))
	if c.kind == number {
		text = blank + text
	} else {
		text += blank
	}
	return cell{strings.Repeat(" ", before) + text, s}
}

// widths gives numbers and words what they need, then names, then bars, which
// are left out where they would be too short to tell anything.
func (l *lines) widths(cols []column) []int {
	widths := make([]int, len(cols))
	left := l.width - tableIndent
	names, charts := 0, 0
	for i, c := range cols {
		if c.kind == chart {
			charts++
			left--
			continue
		}
		if i > 0 {
			left -= tableGap
		}
		widths[i] = columns.StringWidth(c.head)
		for _, t := range c.texts {
			widths[i] = max(widths[i], columns.StringWidth(t))
		}
		if c.kind == name {
			names++
		} else {
			left -= widths[i]
		}
	}
	for i, c := range cols {
		if c.kind == name {
			widths[i] = min(widths[i], max(leastName, (left-charts*leastBar)/names))
			left -= widths[i]
			names--
		}
	}
	for i, c := range cols {
		if c.kind == chart {
			if each := left / charts; each >= leastBar {
				widths[i] = min(each, mostBar)
			}
		}
	}
	return widths
}

func largest(values []int64) (most int64) {
	for _, v := range values {
		most = max(most, v)
	}
	return most
}
