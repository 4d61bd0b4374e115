package check

import (
	"strings"
	"testing"
	"time"

	"github.com/stateraft/stateraft/cmd/torture/internal/history"
)

func TestFlat(t *testing.T) {
	const length = time.Hour
	for _, tt := range []struct {
		name string
		at   func(minute int64) history.Sample
		want int
	}{
		{"all the same", func(int64) history.Sample { return history.Sample{Resident: 1 << 30, Goroutines: 50} }, 0},
		{"grows at first", func(m int64) history.Sample { return history.Sample{Resident: min(m, 12) << 26} }, 0},
		{"spikes", func(m int64) history.Sample { return history.Sample{Goroutines: int(m % 7 / 6 * 10_000)} }, 0},
		{"memory grows", func(m int64) history.Sample { return history.Sample{Resident: m << 23} }, 1},
		{"goroutines grow", func(m int64) history.Sample { return history.Sample{Goroutines: int(m) * 10} }, 1},
		{"descriptors and disk grow", func(m int64) history.Sample { return history.Sample{Files: int(m) * 10, Disk: m << 26} }, 2},
	} {
		var samples []history.Sample
		for minute := range int64(length / time.Minute) {
			s := tt.at(minute)
			s.Node, s.At = "n1", time.Duration(minute)*time.Minute
			samples = append(samples, s)
		}
		samples[59].Life = 1
		v := Flat(samples, length)
		if len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "no process lived longer than 58m0s") {
			t.Errorf("%s: told %q", tt.name, v.Notes)
		}
		if v.Violations != tt.want || v.Checked != 60 {
			t.Errorf("%s: %d violations %q", tt.name, v.Violations, v.Told)
		}
		if Flat(samples, 10*time.Minute) != nil {
			t.Errorf("%s: 10 minutes are enough to say that nothing grows", tt.name)
		}
	}
}
