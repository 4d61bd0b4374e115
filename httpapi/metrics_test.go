package httpapi

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	lead := prometheus.NewGauge(prometheus.GaugeOpts{Name: "stateraft_raft_term", Help: "Of another package."})
	reg.MustRegister(lead)
	x := newAPI(t, func(c *Config) { c.Metrics = reg; c.Version = "1.2.3" })
	x.post("/v1/state/secret-workflow/secret-key", `{"value":1}`)
	x.get("/v1/state/secret-workflow/secret-key")
	x.get("/v1/state/secret-workflow/absent")
	x.do("BREW", "/coffee", "")
	x.get(streamPath)
	r := open(t, x.serve(), streamPath)
	eventually(t, "the stream is level", x.allLevel)
	x.set("wf", "k", "1")
	r.event()
	eventually(t, "the delivery and the stream's request are counted", func() bool {
		body := x.get("/metrics").body
		return strings.Contains(body, "stateraft_stream_lag_seconds_count 1\n") && strings.Contains(body, `/stream"} 2`)
	})
	a := x.ok(x.get("/metrics"), "")
	for _, want := range []string{
		`stateraft_http_requests_total{code="200",method="POST",route="/v1/state/:workflow/:key"} 1`,
		`stateraft_http_requests_total{code="200",method="GET",route="/v1/state/:workflow/:key"} 1`,
		`stateraft_http_requests_total{code="404",method="GET",route="/v1/state/:workflow/:key"} 1`,
		`stateraft_http_requests_total{code="404",method="other",route="none"} 1`,
		`stateraft_http_request_duration_seconds_count{method="POST",route="/v1/state/:workflow/:key"} 1`,
		`stateraft_http_requests_in_flight 1`,
		`stateraft_http_body_bytes 0`,
		`stateraft_http_requests_total{code="200",method="GET",route="/v1/state/:workflow/:key/stream"} 2`,
		`stateraft_streams_open 1`,
		`stateraft_streams_behind 0`,
		`stateraft_stream_events_total 1`,
		`stateraft_stream_resyncs_total 0`,
		`stateraft_stream_lag_seconds_count 1`,
		`stateraft_build_info{version="1.2.3"} 1`,
		`stateraft_raft_term 0`,
	} {
		if !strings.Contains(a.body, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(a.body, "secret") || strings.Contains(a.body, "coffee") {
		t.Error("metrics tell what clients sent")
	}
}
