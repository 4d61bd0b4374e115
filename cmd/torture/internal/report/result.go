package report

import (
	"encoding/json"
	"os"
	"time"
)

// ResultFile is the result's file in the report's directory.
const ResultFile = "result.json"

// Result is a run for programs: what it did, and what came of it.
type Result struct {
	Command  string    `json:"command"`
	Seed     uint64    `json:"seed"`
	Version  string    `json:"version"` // what the server says of itself
	Build    string    `json:"build"`   // hash of its binary
	Tester   string    `json:"tester"`  // hash of the tester's
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"` // under load
	Nodes    int       `json:"nodes"`
	Isolated bool      `json:"isolated"`

	Faults     int `json:"faults"`
	Failed     int `json:"failed"` // faults that could not be carried out
	Operations int `json:"operations"`
	Refused    int `json:"refused"`
	Unknown    int `json:"unknown"`

	Writes Gaps `json:"writes"` // at any node
	Reads  Gaps `json:"reads"`

	Verdicts []Verdict `json:"verdicts"`
}

// Verdict is what one checker found, for programs.
type Verdict struct {
	Check      string   `json:"check"`
	Promise    string   `json:"promise"`
	Checked    int      `json:"checked"`
	Violations int      `json:"violations"`
	Told       []string `json:"told,omitempty"` // the first violations, in words
}

// Gaps are times without an answer to the prober, in milliseconds; the quantiles
// are of those of 200 ms and more.
type Gaps struct {
	Times int   `json:"times"`
	P50   int64 `json:"p50"`
	P95   int64 `json:"p95"`
	Most  int64 `json:"most"`

	Lengths []int64 `json:"lengths,omitempty"` // of 200 ms and more, the shortest first
}

func (a *Availability) gaps() Gaps {
	all := a.lengths()
	g := Gaps{
		Times: len(all), P50: Quantile(all, 0.5).Milliseconds(), P95: Quantile(all, 0.95).Milliseconds(),
		Most: a.Longest.Length().Milliseconds(),
	}
	for _, length := range all {
		g.Lengths = append(g.Lengths, length.Milliseconds())
	}
	return g
}

// Result returns the run for programs.
func (r *Run) Result() *Result {
	total, probed := r.Total(), r.Availability()
	s := &Result{
		Command: r.Command, Seed: r.Seed, Version: r.Version, Build: r.Build, Tester: r.Tester, Started: r.Started.UTC().Truncate(time.Second),
		Seconds: r.Duration.Round(time.Millisecond).Seconds(), Nodes: len(r.Nodes), Isolated: r.Isolated,
		Faults: len(r.Faults), Failed: r.Failed(), Operations: total.Ops, Refused: total.Refused, Unknown: total.Unknown,
		Writes: probed[0].gaps(), Reads: probed[1].gaps(),
	}
	for _, v := range r.Verdicts {
		s.Verdicts = append(s.Verdicts, Verdict{v.Name, v.Promise, v.Checked, v.Violations, v.Told})
	}
	return s
}

// Broken returns the verdicts whose promise was not kept.
func (s *Result) Broken() []Verdict {
	var broken []Verdict
	for _, v := range s.Verdicts {
		if v.Violations > 0 {
			broken = append(broken, v)
		}
	}
	return broken
}

// ReadResult reads what a run has written to path.
func ReadResult(path string) (*Result, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(Result)
	return s, json.Unmarshal(text, s)
}

// Save writes the result to path.
func (s *Result) Save(path string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
