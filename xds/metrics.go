// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the server counts. The label "type" is the kind's name.
type metrics struct {
	streams        *prometheus.GaugeVec
	pushes         *prometheus.CounterVec
	pushBytes      *prometheus.CounterVec
	pushResources  *prometheus.CounterVec
	pushSeconds    *prometheus.HistogramVec
	ackSeconds     *prometheus.HistogramVec
	nacks          *prometheus.CounterVec
	rejected       *prometheus.GaugeVec
	setSeconds     prometheus.Histogram
	resources      *prometheus.GaugeVec
	sets           *prometheus.CounterVec
	refusedSecrets prometheus.Counter
	refusedPeers   prometheus.Counter
}

// newMetrics makes the metrics and registers them where there is a registerer.
func newMetrics(registerer prometheus.Registerer) *metrics {
	const prefix = "ambient22_xds_"
	byType := []string{"type"}
	m := &metrics{
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "streams", Help: "Open discovery streams.",
		}, []string{"service", "protocol"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "pushes_total", Help: "Responses sent to proxies.",
		}, byType),
		pushBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "push_bytes_total", Help: "Bytes of the responses sent to proxies, before gRPC's framing.",
		}, byType),
		pushResources: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "push_resources_total", Help: "Resources in the responses sent to proxies, removals included.",
		}, byType),
		pushSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    prefix + "push_seconds",
			Help:    "Time from a set being taken over to a response with its changes being written, waiting for the proxy's earlier answers included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9), // 0.5 ms to 33 s
		}, byType),
		ackSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    prefix + "ack_seconds",
			Help:    "Time from sending a response to the proxy's ACK or NACK.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 11), // 1 ms to 59 s
		}, byType),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "nacks_total", Help: "Responses that a proxy rejected.",
		}, byType),
		rejected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "rejected_resources", Help: "Resources that a connected proxy rejected and has not accepted since, per proxy.",
		}, byType),
		setSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "set_seconds",
			Help:    "Time to check a set of resources and to find what it changes.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9), // 0.1 ms to 6.5 s
		}),
		resources: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "resources", Help: "Resources served; of secrets, the names that may be asked for.",
		}, byType),
		sets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "sets_total", Help: "Sets of resources taken over, found unchanged, and refused.",
		}, []string{"result"}),
		refusedSecrets: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "refused_secrets_total", Help: "Secrets asked for that no workload of the node has.",
		}),
		refusedPeers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "refused_peers_total", Help: "Connections closed because their user is not allowed.",
		}),
	}
	m.startAtZero()
	if registerer != nil {
		registerer.MustRegister(m.streams, m.pushes, m.pushBytes, m.pushResources, m.pushSeconds,
			m.ackSeconds, m.nacks, m.rejected, m.setSeconds, m.resources, m.sets, m.refusedSecrets, m.refusedPeers)
	}
	return m
}

// Results of a set.
const (
	setTaken     = "taken"
	setUnchanged = "unchanged"
	setRefused   = "refused"
)

// startAtZero makes every series exist, so that the first NACK is an increase
// and not a new series.
func (m *metrics) startAtZero() {
	for k := range kinds {
		m.pushes.WithLabelValues(k.String())
		m.pushBytes.WithLabelValues(k.String())
		m.pushResources.WithLabelValues(k.String())
		m.pushSeconds.WithLabelValues(k.String())
		m.ackSeconds.WithLabelValues(k.String())
		m.nacks.WithLabelValues(k.String())
		m.rejected.WithLabelValues(k.String())
		m.resources.WithLabelValues(k.String())
	}
	for _, result := range []string{setTaken, setUnchanged, setRefused} {
		m.sets.WithLabelValues(result)
	}
	for _, service := range []string{adsService, sdsService} {
		for _, protocol := range []string{sotwDialect{}.String(), deltaDialect{}.String()} {
			m.streams.WithLabelValues(service, protocol)
		}
	}
}

func (m *metrics) pushed(k kind, resources, bytes int) {
	m.pushes.WithLabelValues(k.String()).Inc()
	m.pushBytes.WithLabelValues(k.String()).Add(float64(bytes))
	m.pushResources.WithLabelValues(k.String()).Add(float64(resources))
}

// followed notes that a step of a change has been sent.
func (m *metrics) followed(sub *subscription) {
	if !sub.behind.IsZero() {
		m.pushSeconds.WithLabelValues(sub.kind.String()).Observe(time.Since(sub.behind).Seconds())
	}
}

// rejects brings the count of rejected resources up to what one stream's
// subscriptions say now.
func (m *metrics) rejects(subs *[kinds]*subscription) {
	for k, sub := range subs {
		if sub == nil || len(sub.rejected) == sub.counted {
			continue
		}
		m.rejected.WithLabelValues(kind(k).String()).Add(float64(len(sub.rejected) - sub.counted))
		sub.counted = len(sub.rejected)
	}
}

func (m *metrics) answered(k kind, after time.Duration) {
	m.ackSeconds.WithLabelValues(k.String()).Observe(after.Seconds())
}

func (m *metrics) serving(s *snapshot) {
	for k := range resourceKinds {
		m.resources.WithLabelValues(k.String()).Set(float64(len(s.tables[k].list)))
	}
	m.resources.WithLabelValues(secrets.String()).Set(float64(len(s.names.identities)))
}
