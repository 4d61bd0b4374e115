package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchRun is the result of one mode, as --output json tells it.
type benchRun struct {
	Mode       string       `json:"mode"`
	Clients    uint64       `json:"clients"`
	ValueBytes uint64       `json:"valueBytes"`
	Keys       uint64       `json:"keys"`
	Workflows  uint64       `json:"workflows"`
	Seconds    float64      `json:"seconds"`
	Total      benchFigures `json:"total"`
	// Endpoints is each endpoint's part.
	Endpoints []benchFigures `json:"endpoints"`
}

// benchFigures are what was measured. Latencies are of successes only.
type benchFigures struct {
	Endpoint     string            `json:"endpoint,omitempty"`
	Ops          uint64            `json:"ops"`
	OpsPerSecond float64           `json:"opsPerSecond"`
	P50Ms        float64           `json:"p50Ms"`
	P90Ms        float64           `json:"p90Ms"`
	P99Ms        float64           `json:"p99Ms"`
	MaxMs        float64           `json:"maxMs"`
	Errors       map[string]uint64 `json:"errors"` // by code
}

func newBenchRun(c benchConfig, mode string, elapsed time.Duration, workers benchWorkers, targets []*benchTarget) benchRun {
	run := benchRun{
		Mode: mode, Clients: c.clients, ValueBytes: c.valueBytes, Keys: c.keys, Workflows: c.workflows,
		Seconds: elapsed.Seconds(), Total: newBenchFigures("", elapsed, workers.stats(nil)),
	}
	for _, t := range targets {
		run.Endpoints = append(run.Endpoints, newBenchFigures(t.url.String(), elapsed, workers.stats(t)))
	}
	return run
}

func newBenchFigures(endpoint string, elapsed time.Duration, s *benchStats) benchFigures {
	ms := func(q float64) float64 { return float64(s.latency.quantile(q).Microseconds()) / 1000 }
	return benchFigures{
		Endpoint: endpoint, Ops: s.inTime, OpsPerSecond: float64(s.inTime) / elapsed.Seconds(),
		P50Ms: ms(0.5), P90Ms: ms(0.9), P99Ms: ms(0.99), MaxMs: ms(1), Errors: s.errors,
	}
}

func showBench(o *output, runs []benchRun) error {
	if o.form == formJSON {
		return o.json(map[string][]benchRun{"runs": runs})
	}
	t := table{columns: []column{
		{title: "MODE"}, {title: "ENDPOINT"}, {title: "OPS/S", right: true}, {title: "P50", right: true}, {title: "P90", right: true},
		{title: "P99", right: true}, {title: "MAX", right: true}, {title: "OPS", right: true}, {title: "ERRORS"},
	}}
	for _, run := range runs {
		t.rows = append(t.rows, benchRow(run.Mode, "all", run.Total, bold))
		if len(run.Endpoints) < 2 {
			continue
		}
		for _, f := range run.Endpoints {
			t.rows = append(t.rows, benchRow(run.Mode, f.Endpoint, f, ""))
		}
	}
	return o.table(t)
}

func benchRow(mode, endpoint string, f benchFigures, colour string) []cell {
	errors := cell{formatErrors(f.Errors), ""}
	if len(f.Errors) > 0 {
		errors.colour = red
	}
	return []cell{
		{mode, colour}, {endpoint, colour}, {fmt.Sprintf("%.0f", f.OpsPerSecond), colour},
		{formatMs(f.P50Ms), ""}, {formatMs(f.P90Ms), ""}, {formatMs(f.P99Ms), ""}, {formatMs(f.MaxMs), ""},
		{strconv.FormatUint(f.Ops, 10), ""}, errors,
	}
}

func formatMs(ms float64) string { return strconv.FormatFloat(ms, 'f', 2, 64) + "ms" }

// formatErrors shows counts by code, the most frequent first.
func formatErrors(errors map[string]uint64) string {
	if len(errors) == 0 {
		return "0"
	}
	codes := slices.SortedFunc(maps.Keys(errors), func(a, b string) int {
		return cmp.Or(cmp.Compare(errors[b], errors[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(codes))
	for i, code := range codes {
		parts[i] = fmt.Sprintf("%s %d", code, errors[code])
	}
	return strings.Join(parts, ", ")
}
