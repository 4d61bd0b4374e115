package proxy

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// metrics are the figures about calls upstream. Labels come from closed sets:
// the forms of requests, and the results.
type metrics struct {
	calls     *prometheus.CounterVec
	firstByte *prometheus.HistogramVec
	injected  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, inFlight *atomic.Int64) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stateraft_llm_calls_total",
			Help: "Calls to language models: the class of the status, or why there was no answer.",
		}, []string{"api", "result"}),
		firstByte: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stateraft_llm_first_byte_seconds",
			Help:    "Time until the first byte of a language model's answer.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"api"}),
		injected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stateraft_llm_injected_bytes_total",
			Help: "Bytes of state put into calls to language models.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	flight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stateraft_llm_calls_in_flight",
		Help: "Calls to language models under way.",
	}, func() float64 { return float64(inFlight.Load()) })
	for _, c := range []prometheus.Collector{m.calls, m.firstByte, m.injected, flight} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(api inject.API, result string) {
	m.calls.WithLabelValues(api.String(), result).Inc()
}

// resultOf is the class of a status, as 2xx.
func resultOf(status int) string { return strconv.Itoa(min(status/100, 9)) + "xx" }
