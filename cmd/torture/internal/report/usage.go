package report

import (
	"fmt"
	"strings"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// leastSamples is how many of a node make a curve.
const leastSamples = 5

// usages are what a process uses, as curves show it.
var usages = []struct {
	name string
	of   func(history.Sample) int64
	text func(int64) string
}{
	{"memory", func(s history.Sample) int64 { return s.Resident }, megabytes},
	{"disk", func(s history.Sample) int64 { return s.Disk }, megabytes},
	{"goroutines", func(s history.Sample) int64 { return int64(s.Goroutines) }, number},
	{"descriptors", func(s history.Sample) int64 { return int64(s.Files) }, number},
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func number(n int64) string { return fmt.Sprint(n) }

// usage draws what each node used over time.
func (c *chart) usage(r *Run) {
	if len(r.Samples) < leastSamples*len(r.Nodes) {
		return
	}
	for _, u := range usages {
		most := int64(1)
		for _, s := range r.Samples {
			most = max(most, u.of(s))
		}
		p := c.plot(u.name, u.text(most), usageHeight)
		for i, name := range r.Nodes {
			var points []string
			for _, s := range r.Samples {
				if s.Node == name {
					points = append(points, point(c.x(s.At), p, float64(u.of(s))/float64(most)))
				}
			}
			p.Lines = append(p.Lines, line{strings.Join(points, " "), fmt.Sprint("node", i%3)}) // there are three colors
		}
		c.Plots = append(c.Plots, p)
	}
}
