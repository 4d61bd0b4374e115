package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the figures about requests. Labels come from closed sets: the
// route table, the known methods, the status codes.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	show     http.Handler
}

func newMetrics(reg *prometheus.Registry, version string, bodies *budget) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stateraft_http_requests_total",
			Help: "HTTP requests answered.",
		}, []string{"route", "method", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stateraft_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stateraft_http_requests_in_flight",
			Help: "HTTP requests being answered.",
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
	for _, c := range []prometheus.Collector{m.requests, m.latency, m.inFlight, bodyBytes, build} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
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
