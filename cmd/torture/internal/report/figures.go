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
		all = append(all, figures(name, r.History.Of(name)))
	}
	return append(all, figures("all", r.History.Ops))
}

func figures(name string, ops []history.Op) Figures {
	f := Figures{Workload: name, Ops: len(ops)}
	var latencies []time.Duration
	for _, op := range ops {
		switch op.Outcome {
		case history.OK:
			f.OK++
			latencies = append(latencies, op.Return-op.Call)
		case history.Refused:
			f.Refused++
		case history.Unknown:
			f.Unknown++
		}
	}
	slices.Sort(latencies)
	f.Median, f.P99, f.Most = quantile(latencies, 0.5), quantile(latencies, 0.99), quantile(latencies, 1)
	return f
}

// quantile is that of sorted figures, 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// Gap is a time without an answer.
type Gap struct{ From, To time.Duration }

// Length is how long it was.
func (g Gap) Length() time.Duration { return g.To - g.From }

// Availability is the longest time in which probes got no answer.
type Availability struct {
	Who     string
	Longest Gap
	Gaps    []Gap // all that are worth showing
}

// worthShowing is the shortest gap that a timeline shows.
const worthShowing = 200 * time.Millisecond

// Availability returns that of writes anywhere, and that of each node.
func (r *Run) Availability() []Availability {
	probes := r.History.Of(r.Probe)
	all := []Availability{r.available("writes at any node", probes, func(op history.Op) bool { return op.Kind.IsWrite() })}
	for _, node := range r.Nodes {
		all = append(all, r.available(node, probes, func(op history.Op) bool { return op.Node == node }))
	}
	return all
}

func (r *Run) available(who string, probes []history.Op, picked func(history.Op) bool) Availability {
	a := Availability{Who: who}
	var returns []time.Duration
	for _, op := range probes {
		if picked(op) && op.Outcome == history.OK && op.Return <= r.Duration {
			returns = append(returns, op.Return)
		}
	}
	slices.Sort(returns)
	last := time.Duration(0)
	for _, at := range append(returns, r.Duration) {
		g := Gap{last, at}
		if g.Length() >= worthShowing {
			a.Gaps = append(a.Gaps, g)
		}
		if g.Length() > a.Longest.Length() {
			a.Longest = g
		}
		last = at
	}
	return a
}

// FaultFigures are those of all faults of one name.
type FaultFigures struct {
	Name, Row string
	Times     int
	Failed    int           // could not be carried out
	Longest   time.Duration // without a write at any node, beginning under the fault or until the cluster was whole
	Whole     time.Duration // longest from the end of the fault until the cluster was whole
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
		s.Whole = max(s.Whole, f.Whole-f.End)
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
