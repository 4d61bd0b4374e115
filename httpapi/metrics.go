package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stateraft/stateraft/httpapi/stream"
)

// metrics are the figures about requests. Labels come from closed sets: the
// route table, the known methods, the status codes.
type metrics struct {
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	streamLag prometheus.Histogram
	show      http.Handler
}

func newMetrics(reg *prometheus.Registry, version string, bodies *budget, streams func() stream.Stats) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stateraft_http_requests_total",
			Help: "HTTP requests answered.",
		}, []string{"route", "method", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stateraft_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer; to its beginning for a stream.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stateraft_http_requests_in_flight",
			Help: "HTTP requests being answered.",
		}),
		streamLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "stateraft_stream_lag_seconds",
			Help:    "Time from when this node applied changes until they were written to its streams, one sample a batch.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		show: promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
	}
	bodyBytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stateraft_http_body_bytes",
		Help: "Memory reserved for the bodies of the HTTP requests being answered.",
	}, func() float64 { return float64(bodies.used.Load()) })
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "stateraft_build_info",
		Help:        "Always 1; the label tells the binary's version.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	for _, c := range append(streamFigures(streams), m.requests, m.latency, m.inFlight, m.streamLag, bodyBytes, build) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// streamFigures show what the hub counts.
func streamFigures(stats func() stream.Stats) []prometheus.Collector {
	gauge := func(name, help string, of func(stream.Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(of(stats())) })
	}
	counter := func(name, help string, of func(stream.Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(of(stats())) })
	}
	return []prometheus.Collector{
		gauge("stateraft_streams_open", "Streams that are open.",
			func(s stream.Stats) int { return s.Streams }),
		gauge("stateraft_streams_behind", "Streams that are being sent what they lack, because they began with the past or their client reads slowly.",
			func(s stream.Stats) int { return s.Behind }),
		counter("stateraft_stream_events_total", "Events delivered to streams.",
			func(s stream.Stats) uint64 { return s.Events }),
		counter("stateraft_stream_resyncs_total", "Times that a stream had to tell all present keys, because the history no longer reached its client.",
			func(s stream.Stats) uint64 { return s.Resyncs }),
	}
}

func (m *metrics) observe(rt *route, method string, status int, took time.Duration) {
	method = methodLabel(method)
	m.requests.WithLabelValues(rt.pattern, method, strconv.Itoa(status)).Inc()
	m.latency.WithLabelValues(rt.pattern, method).Observe(took.Seconds())
}

// methodLabel keeps methods that a client made up out of the labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
		http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// showMetrics serves GET /metrics.
func (s *Server) showMetrics(w http.ResponseWriter, r *request) error {
	s.metrics.show.ServeHTTP(w, r.Request)
	return nil
}
