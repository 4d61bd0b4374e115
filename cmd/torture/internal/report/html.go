package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"short": short,
}).Parse(page))

// HTML writes the page.
func (r *Run) HTML(out io.Writer) error {
	return pageTemplate.Execute(out, struct {
		*Run
		Chart *chart
	}{r, newChart(r)})
}
