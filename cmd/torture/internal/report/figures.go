package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

// Figures are those of one workload.
type Figures struct {
	Workload             string
	Ops                  int
	OK, Refused, Unknown int
	Median, P99, Most    time.Duration // of the latency of what was answered
}

// Figures returns those of each workload, the prober's and the sum.
func (r *Run) Figures() []Figures {
	var all []Figures
	for _, name := range append(slices.Clone(r.Workloads), r.Probe) {
		if work := r.Digest.works[name]; work != nil {
			all = append(all, work.figures(name))
		}
	}
	return append(all, r.Total())
}

// Total returns the figures of all workloads together.
func (r *Run) Total() Figures { return r.Digest.all.figures("all") }

func (t *tally) figures(name string) Figures {
	f := Figures{Workload: name, OK: t.outcomes[history.OK], Refused: t.outcomes[history.Refused], Unknown: t.outcomes[history.Unknown]}
	f.Ops = f.OK + f.Refused + f.Unknown
	f.Median, f.P99, f.Most = t.latencies.quantile(0.5), t.latencies.quantile(0.99), t.latencies.most
	return f
}

// Availability returns that of writes and of reads at any node, and that of
// each node.
func (r *Run) Availability() []*Availability { return r.Digest.probed }

// FaultFigures are those of all faults of one name.
type FaultFigures struct {
	Name, Row string
	Times     int
	Failed    int           // could not be carried out
	Longest   time.Duration // without a write at any node, that overlaps with the fault or the time until the cluster was whole
	Whole     time.Duration // longest from the end of the fault until the cluster was whole
	Never     bool          // it was not whole again in time, once at least
}

// FaultFigures returns those of each fault, by name.
func (r *Run) FaultFigures() []FaultFigures {
	by := map[string]*FaultFigures{}
	writes := r.Availability()[0]
	for _, f := range r.Faults {
		s := by[f.Name]
		if s == nil {
			s = &FaultFigures{Name: f.Name, Row: f.Row}
			by[f.Name] = s
		}
		s.Times++
		if f.Error != "" {
			s.Failed++
		}
		s.Whole, s.Never = max(s.Whole, f.Healing()), s.Never || f.Whole == 0
		for _, g := range writes.Gaps {
			if g.To > f.Begin && g.From < max(f.End, f.Whole) {
				s.Longest = max(s.Longest, g.Length())
			}
		}
	}
	var all []FaultFigures
	for _, s := range by {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b FaultFigures) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
