package history

import "time"

// Drift is a time in which the clocks of some node were wrong.
type Drift struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
	Gain float64       `json:"gain"` // how much too fast they were: 0.01 is 10 ms a second
}

// ShowsWrong reports whether the instants that nodes show may have been wrong at
// some time until then: they follow a leader's wall clock, and are only
// corrected when they are off by more than half a second.
func (h *History) ShowsWrong(until time.Duration) bool {
	for _, d := range h.Drifts {
		if d.From <= until {
			return true
		}
	}
	return false
}

// Gained returns by how much cluster time may have been ahead of the right time
// at the end of a span, had it been right at the begin: it follows the clock
// of one node at a time.
func (h *History) Gained(from, to time.Duration) (ahead time.Duration) {
	for _, d := range h.Drifts {
		if overlap := min(to, d.To) - max(from, d.From); overlap > 0 {
			ahead += time.Duration(float64(overlap) * d.Gain)
		}
	}
	return ahead
}
