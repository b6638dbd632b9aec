// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of a request.
const (
	resultIssued = "issued"
	resultDenied = "denied"
	resultFailed = "failed"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	roots    prometheus.Gauge
}

// newMetrics registers the metrics where there is a registerer.
func newMetrics(r prometheus.Registerer, s *Source) *metrics {
	const prefix = "ambient_node_identity_"
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total", Help: "Requests for certificates that ended, by result: issued, denied or failed.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "request_seconds", Help: "Time from making a key to holding its certificate.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14), // 5 ms to 41 s
		}),
		roots: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "roots", Help: "Roots in the trust bundle that is in use.",
		}),
	}
	for _, result := range []string{resultIssued, resultDenied, resultFailed} {
		m.requests.WithLabelValues(result)
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "held", Help: "Identities of this node whose certificate is held.",
	}, func() float64 { return float64(len(s.ends())) })
	missing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "missing", Help: "Identities of this node that have no certificate yet.",
	}, func() float64 { return float64(len(s.Missing())) })
	end := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "first_expiry_timestamp_seconds", Help: "When the first of the held certificates ends, in seconds since 1970; 0 while none is held.",
	}, func() float64 {
		ends := s.ends()
		if len(ends) == 0 {
			return 0
		}
		return float64(ends[0].Unix())
	})
	if r != nil {
		r.MustRegister(m.requests, m.seconds, m.roots, held, missing, end)
	}
	return m
}

func (m *metrics) issued(took time.Duration) {
	m.requests.WithLabelValues(resultIssued).Inc()
	m.seconds.Observe(took.Seconds())
}
