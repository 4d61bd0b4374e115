package report

import (
	_ "embed"
	"html/template"
	"io"
	"strconv"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"short": short,
	"long":  func(d time.Duration) time.Duration { return d.Round(time.Second) },
	"count": count,
}).Parse(page))

// HTML writes the page.
func (r *Run) HTML(out io.Writer) error {
	return pageTemplate.Execute(out, struct {
		*Run
		Chart *chart
	}{r, newChart(r)})
}

// Kept is how many of the verdicts say that the promise was kept.
func (r *Run) Kept() (n int) {
	for _, v := range r.Verdicts {
		if v.OK() {
			n++
		}
	}
	return n
}

// count writes a number with its digits in groups of three.
func count(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}
