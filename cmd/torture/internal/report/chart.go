package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Sizes of the timeline, in units of its drawing.
const (
	chartWidth  = 1100
	chartLeft   = 130 // room for names
	laneHeight  = 18
	plotHeight  = 110
	usageHeight = 70 // of what the nodes used
	chartGap    = 26
)

// chart is the timeline: faults over operations, latency and availability, all
// over the same time.
type chart struct {
	Width, Left, Height int
	Lanes               []lane
	Plots               []plot
	Ticks               []tick
	TickTop, TickBottom int
	duration            time.Duration
	nextTop             int
}

// lane is a row of boxes.
type lane struct {
	Name  string
	Top   int
	Boxes []box
}

type box struct {
	X, Width       float64
	Y, Height      int
	Class, Tooltip string
}

// plot is a field with columns or lines.
type plot struct {
	Name        string
	Top, Bottom int
	Most        string // what the upper edge stands for
	Columns     []column
	Lines       []line
}

type column struct {
	X, Y, Width, Height float64
	Class               string
}

type line struct{ Points, Class string }

type tick struct {
	X    float64
	Text string
}

func newChart(r *Run) *chart {
	c := &chart{Width: chartWidth + chartLeft, Left: chartLeft, duration: max(r.Duration, time.Second), nextTop: 20}
	c.TickTop = c.nextTop
	for _, kind := range kinds(r.Faults) {
		c.faults(kind, r.Faults)
	}
	for _, a := range r.Availability() {
		c.availability(a, r.Epochs)
	}
	c.nextTop += chartGap
	c.throughput(r.Digest)
	c.latency(r.Digest)
	c.usage(r)
	c.TickBottom = c.nextTop - chartGap
	c.Height = c.nextTop
	c.ticks()
	return c
}

// kinds are those of the faults, in order.
func kinds(faults []Fault) []string {
	seen := map[string]bool{}
	for _, f := range faults {
		seen[f.Kind] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func (c *chart) x(at time.Duration) float64 {
	return chartLeft + float64(min(at, c.duration))/float64(c.duration)*chartWidth
}

func (c *chart) box(from, to time.Duration, class, tooltip string) box {
	return box{X: c.x(from), Width: max(1, c.x(to)-c.x(from)), Y: c.nextTop, Height: laneHeight - 4, Class: class, Tooltip: tooltip}
}

func (c *chart) lane(name string, boxes []box) {
	c.Lanes = append(c.Lanes, lane{name, c.nextTop, boxes})
	c.nextTop += laneHeight
}

// faults shows those of one kind, and paler how long the cluster took to be
// whole again.
func (c *chart) faults(kind string, faults []Fault) {
	var boxes []box
	for _, f := range faults {
		if f.Kind != kind {
			continue
		}
		tooltip := fmt.Sprintf("round %d: %s: %s; %v to %v", f.Round, f.Name, f.What, short(f.Begin), short(f.End))
		if f.Whole > f.End {
			tooltip += fmt.Sprintf("; whole after %v", short(f.Whole-f.End))
			boxes = append(boxes, c.box(f.End, f.Whole, "healing", tooltip))
		}
		boxes = append(boxes, c.box(f.Begin, f.End, "fault", tooltip))
	}
	c.lane(kind+" faults", boxes)
}

// availability shows when there was somebody to answer to, and when no answer
// came.
func (c *chart) availability(a *Availability, epochs []Epoch) {
	var boxes []box
	for _, e := range epochs {
		boxes = append(boxes, c.box(e.Begin, e.End, "up", a.Who))
	}
	for _, g := range a.Gaps {
		boxes = append(boxes, c.box(g.From, g.To, "down", fmt.Sprintf("%s: no answer for %v from %v", a.Who, short(g.Length()), short(g.From))))
	}
	c.lane(a.Who, boxes)
}

func (c *chart) plot(name, most string, height int) plot {
	p := plot{Name: name, Top: c.nextTop, Bottom: c.nextTop + height, Most: most}
	c.nextTop += height + chartGap
	return p
}

var outcomes = []history.Outcome{history.OK, history.Refused, history.Unknown}

// throughput stacks outcomes by the time of the return.
func (c *chart) throughput(d *Digest) {
	most := 1
	for _, t := range d.columns {
		most = max(most, t.figures("").Ops)
	}
	perSecond := float64(most) / d.width.Seconds()
	p := c.plot("operations", fmt.Sprintf("%.0f/s", perSecond), plotHeight)
	width := c.x(d.width) - c.x(0)
	for i, t := range d.columns {
		left := time.Duration(i) * d.width
		if left >= c.duration {
			break
		}
		y := float64(p.Bottom)
		for _, outcome := range outcomes {
			h := float64(t.outcomes[outcome]) / float64(most) * plotHeight
			if y -= h; h > 0 {
				p.Columns = append(p.Columns, column{c.x(left), y, width, h, string(outcome)})
			}
		}
	}
	c.Plots = append(c.Plots, p)
}

// The latency's scale is logarithmic.
const (
	leastLatency = 200 * time.Microsecond
	mostLatency  = 5 * time.Second
)

func (c *chart) latency(d *Digest) {
	p := c.plot("latency", "5s", plotHeight)
	for _, q := range []struct {
		at    float64
		class string
	}{{0.5, "median"}, {0.99, "p99"}} {
		var points []string
		for i, t := range d.columns {
			if t.latencies.n > 0 {
				points = append(points, point(c.x(time.Duration(i)*d.width+d.width/2), p, logScale(t.latencies.quantile(q.at))))
				continue
			}
			p.Lines, points = append(p.Lines, line{strings.Join(points, " "), q.class}), nil
		}
		p.Lines = append(p.Lines, line{strings.Join(points, " "), q.class})
	}
	c.Plots = append(c.Plots, p)
}

// point is one of a line, as high as share of its plot.
func point(x float64, p plot, share float64) string {
	return fmt.Sprintf("%.1f,%.1f", x, float64(p.Bottom)-float64(p.Bottom-p.Top)*share)
}

// logScale is 0 for leastLatency and 1 for mostLatency.
func logScale(d time.Duration) float64 {
	d = min(max(d, leastLatency), mostLatency)
	return math.Log(float64(d)/float64(leastLatency)) / math.Log(float64(mostLatency)/float64(leastLatency))
}

func (c *chart) ticks() {
	step := time.Second
	for _, s := range []time.Duration{2, 5, 10, 30, 60, 120, 300, 600} {
		if c.duration/step > 15 {
			step = s * time.Second
		}
	}
	for at := time.Duration(0); at <= c.duration; at += step {
		c.Ticks = append(c.Ticks, tick{c.x(at), at.String()})
	}
}
