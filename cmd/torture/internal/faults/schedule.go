package faults

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	leastHold = 100 * time.Millisecond
	mostRest  = 1500 * time.Millisecond
)

// Planned is a fault of the schedule.
type Planned struct {
	Fault
	After time.Duration // from the begin of its round
	Hold  time.Duration
	Seed  uint64 // of what it chooses itself
}

// Round is faults that overlap, and the rest before them.
type Round struct {
	Number int
	Rest   time.Duration
	Faults []Planned
}

func (r Round) String() string {
	var parts []string
	for _, p := range r.Faults {
		parts = append(parts, fmt.Sprintf("%s for %v", p.Name, p.Hold))
	}
	return fmt.Sprintf("%3d  after %-6v %s", r.Number, r.Rest, strings.Join(parts, " with "))
}

// Schedule is an endless sequence of rounds that its seed determines.
type Schedule struct {
	rng      *rand.Rand
	faults   []Fault
	bag      []Fault // of the faults, those not drawn since it was last full
	combined bool
	number   int
	kept     *Round // comes next; nil: it is to be drawn
}

// NewSchedule draws from faults, each once before any comes again. Combined
// adds to each a fault of the other kind, where there is one, at the same time.
func NewSchedule(seed uint64, faults []Fault, combined bool) *Schedule {
	return &Schedule{rng: rand.New(rand.NewPCG(seed, 0)), faults: faults, combined: combined}
}

// Next returns the next round; one without faults where there are none at all.
func (s *Schedule) Next() Round {
	if r := s.kept; r != nil {
		s.kept = nil
		return *r
	}
	s.number++
	r := Round{Number: s.number, Rest: s.between(mostRest/3, mostRest)}
	if len(s.faults) == 0 {
		return r
	}
	first := s.draw()
	r.Faults = append(r.Faults, s.plan(first, 0))
	if other, ok := s.other(first); ok && s.combined {
		r.Faults = append(r.Faults, s.plan(other, s.between(0, r.Faults[0].Hold+1)))
	}
	return r
}

// Keep has a round that did not begin come next.
func (s *Schedule) Keep(r Round) { s.kept = &r }

func (s *Schedule) draw() Fault {
	if len(s.bag) == 0 {
		s.bag = append(s.bag, s.faults...)
		slices.SortStableFunc(s.bag, func(a, b Fault) int { return cmp.Compare(a.turn(), b.turn()) })
	}
	n := len(s.bag)
	for n > 1 && s.bag[n-1].turn() != s.bag[0].turn() {
		n--
	}
	i := s.rng.IntN(n)
	f := s.bag[i]
	s.bag = append(s.bag[:i], s.bag[i+1:]...)
	return f
}

// other draws a fault of another kind whose turn is at any time. Of those that end
// processes and start them there is one at a time.
func (s *Schedule) other(first Fault) (Fault, bool) {
	var others []Fault
	for _, f := range s.faults {
		if f.Kind != first.Kind && f.turn() == 0 && !(f.restarts() && first.restarts()) {
			others = append(others, f)
		}
	}
	if len(others) == 0 {
		return Fault{}, false
	}
	return others[s.rng.IntN(len(others))], true
}

func (f Fault) restarts() bool { return f.ends || f.Kind == Process || f.Kind == Disk }

func (s *Schedule) plan(f Fault, after time.Duration) Planned {
	least := min(max(leastHold, f.lasts), f.Most/2)
	return Planned{Fault: f, After: after, Hold: s.between(least, f.Most), Seed: s.rng.Uint64()}
}

func (s *Schedule) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(s.rng.Int64N(int64(most-least)))).Truncate(time.Millisecond)
}

// Begin hurts the cluster, with chances of the plan's seed. What it starts may
// use ctx until the end. The hurt has an end also after an error.
func (p Planned) Begin(ctx context.Context, s Scene) (Hurt, error) {
	s.Rand = rand.New(rand.NewPCG(p.Seed, 1))
	begin := p.begin
	if p.Kind == Network {
		begin = s.Parting.around(begin)
	}
	h, err := begin(ctx, &s)
	if h.What == "" {
		h.What = p.Name
	}
	return h, err
}
