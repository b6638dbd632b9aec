// SPDX-License-Identifier: Apache-2.0

package signer

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	signed     prometheus.Counter
	refusals   *prometheus.CounterVec
	seconds    prometheus.Histogram
	deleted    prometheus.Counter
	faults     prometheus.Counter
	bundles    prometheus.Counter
	leads      prometheus.Gauge
	rootExpiry prometheus.Gauge
}

// newMetrics registers the metrics where there is a registerer.
func newMetrics(r prometheus.Registerer) *metrics {
	const prefix = "ambient_signer_"
	m := &metrics{
		signed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "signed_total", Help: "Certificates signed.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "refused_total", Help: "Requests refused, by reason.",
		}, []string{"reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "sign_seconds", Help: "Time from seeing a request to its certificate being readable.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 14), // 2 ms to 16 s
		}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "requests_deleted_total", Help: "Answered requests deleted after their time.",
		}),
		faults: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "faults_total", Help: "Attempts that failed and are made again.",
		}),
		bundles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "bundle_writes_total", Help: "Times the trust bundle had to be written.",
		}),
		leads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "leader", Help: "1 while this signer leads.",
		}),
		rootExpiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "root_expiry_timestamp_seconds", Help: "When the signing root ends, in seconds since 1970.",
		}),
	}
	for _, reason := range Reasons() {
		m.refusals.WithLabelValues(reason)
	}
	if r != nil {
		r.MustRegister(m.signed, m.refusals, m.seconds, m.deleted, m.faults, m.bundles, m.leads, m.rootExpiry)
	}
	return m
}
