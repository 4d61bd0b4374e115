package main

import (
	"fmt"
	"time"
)

// benchStreamsRun is the result of a mode for streams, as --output json tells
// it. In figures, an op is an event at a subscriber; latencies count from when
// its write was sent.
type benchStreamsRun struct {
	Mode           string  `json:"mode"`
	Subscribers    uint64  `json:"subscribers"`
	ValueBytes     uint64  `json:"valueBytes"`
	Seconds        float64 `json:"seconds"`
	OpensPerSecond float64 `json:"opensPerSecond"`
	Writes         int     `json:"writes"`
	// Writer is the one client that writes; its ops are writes.
	Writer    benchFigures   `json:"writer"`
	Total     benchFigures   `json:"total"`
	Leader    benchFigures   `json:"leader"`
	Followers benchFigures   `json:"followers"`
	Endpoints []benchFigures `json:"endpoints"`
}

// sum takes what the feeds and the writer have counted.
func (r *benchStreamsRun) sum(elapsed time.Duration, feeds []*benchFeed, writer *benchWorker) {
	r.Seconds = elapsed.Seconds()
	writer.stats.inTime = writer.stats.latency.total
	r.Writer = newBenchFigures(writer.target.url.String(), elapsed, &writer.stats)
	total, leader, followers := newBenchStats(), newBenchStats(), newBenchStats()
	for _, f := range feeds {
		total.merge(&f.stats)
		if f.leads {
			leader.merge(&f.stats)
		} else {
			followers.merge(&f.stats)
		}
		r.Endpoints = append(r.Endpoints, newBenchFigures(f.target.url.String(), elapsed, &f.stats))
	}
	r.Total = newBenchFigures("", elapsed, &total)
	r.Leader = newBenchFigures("", elapsed, &leader)
	r.Followers = newBenchFigures("", elapsed, &followers)
}

func showStreams(o *output, r benchStreamsRun) error {
	if o.form == formJSON {
		return o.json(map[string][]benchStreamsRun{"runs": {r}})
	}
	t := table{columns: []column{
		{title: "MODE"}, {title: "ENDPOINT"}, {title: "EVENTS/S", right: true}, {title: "P50", right: true}, {title: "P90", right: true},
		{title: "P99", right: true}, {title: "MAX", right: true}, {title: "EVENTS", right: true}, {title: "ERRORS"},
	}}
	t.rows = append(t.rows, benchRow(r.Mode, "all", r.Total, bold))
	for _, part := range []struct {
		name string
		f    benchFigures
	}{{"leader", r.Leader}, {"followers", r.Followers}} {
		if part.f.Ops > 0 {
			t.rows = append(t.rows, benchRow(r.Mode, part.name, part.f, ""))
		}
	}
	for _, f := range r.Endpoints {
		t.rows = append(t.rows, benchRow(r.Mode, f.Endpoint, f, dim))
	}
	t.rows = append(t.rows, benchRow("write", r.Writer.Endpoint, r.Writer, dim))
	if err := o.table(t); err != nil {
		return err
	}
	if o.shape() == formPlain {
		return nil
	}
	return o.line(fmt.Sprintf("\n%d streams were opened, %.0f a second.", r.Subscribers, r.OpensPerSecond))
}
