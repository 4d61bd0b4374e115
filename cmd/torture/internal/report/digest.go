package report

import (
	"math"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

const (
	// mostColumns bounds the resolution of the timeline in a run that takes as
	// long as was planned.
	mostColumns = 300
	leastColumn = 100 * time.Millisecond
	// mostGaps bounds the gaps that are kept of each thing that is probed.
	mostGaps = 10_000
	// worthShowing is the shortest time without an answer that counts as a gap:
	// four times the pause between probes.
	worthShowing = 200 * time.Millisecond
)

// Digest is what the operations of a run come to. It is small however many
// they are, so that a run need not keep them.
type Digest struct {
	width   time.Duration // of a column
	columns []tally       // of the timeline, by the time of the return
	works   map[string]*tally
	all     tally
	probed  []*Availability // writes at any node, reads at any node, then each node
}

// tally is a number of operations.
type tally struct {
	outcomes  map[history.Outcome]int
	latencies histogram // of what was answered, but for streams, which last
}

func newTally() *tally { return &tally{outcomes: map[history.Outcome]int{}} }

func (t *tally) add(op history.Op) {
	t.outcomes[op.Outcome]++
	if op.Outcome == history.OK && op.Kind != history.Open {
		t.latencies.add(op.Return - op.Call)
	}
}

// NewDigest returns that of a run that is planned to take so long, of these
// nodes.
func NewDigest(planned time.Duration, nodes []string) *Digest {
	d := &Digest{width: max(leastColumn, planned/mostColumns), works: map[string]*tally{}, all: *newTally()}
	d.probed = []*Availability{
		{Who: "writes", about: func(op history.Op) bool { return op.Kind.IsWrite() }},
		{Who: "reads", about: func(op history.Op) bool { return !op.Kind.IsWrite() }},
	}
	for _, node := range nodes {
		d.probed = append(d.probed, &Availability{Who: node, about: func(op history.Op) bool { return op.Node == node }})
	}
	return d
}

// Add adds a history whose times count from offset on, and whose prober worked
// from there until end. Histories come in the order of their times.
func (d *Digest) Add(h *history.History, probe string, offset, end time.Duration) {
	for _, op := range h.Ops {
		work := d.works[op.Workload]
		if work == nil {
			work = newTally()
			d.works[op.Workload] = work
		}
		for _, t := range []*tally{d.column(offset + op.Return), work, &d.all} {
			t.add(op)
		}
	}
	probes := h.Of(probe)
	for _, a := range d.probed {
		a.add(probes, offset, end)
	}
}

func (d *Digest) column(at time.Duration) *tally {
	i := int(at / d.width)
	for len(d.columns) <= i {
		d.columns = append(d.columns, *newTally())
	}
	return &d.columns[i]
}

// Gap is a time without an answer.
type Gap struct{ From, To time.Duration }

// Length is how long it was.
func (g Gap) Length() time.Duration { return g.To - g.From }

// Availability is when probes got no answer.
type Availability struct {
	Who     string
	Longest Gap
	Gaps    []Gap // all that are worth showing, in order
	about   func(history.Op) bool
}

func (a *Availability) add(probes []history.Op, offset, end time.Duration) {
	var returns []time.Duration
	for _, op := range probes {
		if at := offset + op.Return; a.about(op) && op.Outcome == history.OK && at <= end {
			returns = append(returns, at)
		}
	}
	slices.Sort(returns)
	last := offset
	for _, at := range append(returns, end) {
		a.note(Gap{last, at})
		last = at
	}
}

func (a *Availability) note(g Gap) {
	if g.Length() >= worthShowing && len(a.Gaps) < mostGaps {
		a.Gaps = append(a.Gaps, g)
	}
	if g.Length() > a.Longest.Length() {
		a.Longest = g
	}
}

// lengths returns those of all gaps, the shortest first.
func (a *Availability) lengths() []time.Duration {
	var all []time.Duration
	for _, g := range a.Gaps {
		all = append(all, g.Length())
	}
	slices.Sort(all)
	return all
}

// Quantile is the least of sorted figures that a share q of them does not
// exceed; 0 of none.
func Quantile[T ~int64](sorted []T, q float64) T {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[place(q, len(sorted))]
}

// place is that of a quantile among n sorted figures.
func place(q float64, n int) int { return max(0, int(math.Ceil(q*float64(n)))-1) }
