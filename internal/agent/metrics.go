// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/noderoute"
)

// Metrics counts what the agent does.
type Metrics struct {
	sourceErrors prometheus.Counter
	syncs        *prometheus.CounterVec
	seconds      prometheus.Histogram
	writes       *prometheus.CounterVec
	enrolled     prometheus.Gauge
	programmed   prometheus.Gauge
}

// NewMetrics registers the agent's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		sourceErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ambient_node_source_errors_total",
			Help: "Changes of the mesh that could not be taken; the configuration before them stayed.",
		}),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ambient_node_syncs_total",
			Help: "Comparisons of node and mesh, by result: ok, xds_error or node_error.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ambient_node_sync_seconds",
			Help:    "How long one comparison of node and mesh took, repairs included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ambient_node_kernel_writes_total",
			Help: "Writes to the node's kernel, by way: exec (iptables-restore), netlink (messages), sysctl.",
		}, []string{"way"}),
		enrolled: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ambient_node_enrolled_pods",
			Help: "Pods of this node whose traffic is captured.",
		}),
		programmed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ambient_node_programmed",
			Help: "1 while the node agreed with the mesh at the last comparison.",
		}),
	}
	r.MustRegister(m.sourceErrors, m.syncs, m.seconds, m.writes, m.enrolled, m.programmed)
	for _, way := range []string{"exec", "netlink", "sysctl"} {
		m.writes.WithLabelValues(way) // present from the start, so that "none" reads as 0
	}
	return m
}

func (m *Metrics) synced(s State, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	m.programmed.Set(0)
	switch {
	case !s.Served:
		m.syncs.WithLabelValues("xds_error").Inc()
	case !s.Programmed:
		m.syncs.WithLabelValues("node_error").Inc()
	default:
		m.syncs.WithLabelValues("ok").Inc()
		m.programmed.Set(1)
	}
}

func (m *Metrics) wrote(r noderoute.Result) {
	m.writes.WithLabelValues("exec").Add(float64(r.Execs))
	m.writes.WithLabelValues("netlink").Add(float64(r.NetlinkWrites))
	m.writes.WithLabelValues("sysctl").Add(float64(r.SysctlWrites))
}
