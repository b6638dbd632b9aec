// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/noderoute"
)

// Metrics counts what the agent does.
type Metrics struct {
	sourceErrors prometheus.Counter
	snapshots    prometheus.Counter
	coalesced    prometheus.Counter
	builds       prometheus.Histogram
	resources    *prometheus.CounterVec
	syncs        *prometheus.CounterVec
	seconds      prometheus.Histogram
	writes       *prometheus.CounterVec
	drift        *prometheus.CounterVec
	drained      prometheus.Counter
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
		snapshots: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ambient_node_snapshots_total",
			Help: "Changes of the mesh that were taken in.",
		}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ambient_node_snapshots_coalesced_total",
			Help: "Of these, changes that a newer one replaced before anything was built of them.",
		}),
		builds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ambient_node_build_seconds",
			Help:    "How long building the ztunnel's resources took, after each change or burst of changes.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}),
		resources: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ambient_node_resources_rebuilt_total",
			Help: "Resources that were new or different after a change, by kind.",
		}, []string{"kind"}),
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
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ambient_node_drift_total",
			Help: "Things of the data path that somebody else had changed, and that were set right, by kind.",
		}, []string{"kind"}),
		drained: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ambient_node_drained_connections_total",
			Help: "Open connections that stayed with their ztunnel when another one took over.",
		}),
		enrolled: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ambient_node_enrolled_pods",
			Help: "Pods of this node whose traffic is captured.",
		}),
		programmed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ambient_node_programmed",
			Help: "1 while the node agreed with the mesh at the last comparison.",
		}),
	}
	r.MustRegister(m.sourceErrors, m.snapshots, m.coalesced, m.builds, m.resources, m.syncs, m.seconds, m.writes,
		m.drift, m.drained, m.enrolled, m.programmed)
	for _, kind := range resourceKinds(&envoyconfig.Resources{}) {
		m.resources.WithLabelValues(kind.name)
	}
	for _, way := range []string{"exec", "netlink", "sysctl"} {
		m.writes.WithLabelValues(way) // present from the start, so that "none" reads as 0
	}
	for _, kind := range noderoute.AllKinds() {
		m.drift.WithLabelValues(kind.String())
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

// received counts a snapshot, and the one before it, if it was never looked at.
func (m *Metrics) received(replaced bool) {
	m.snapshots.Inc()
	if replaced {
		m.coalesced.Inc()
	}
}

type resourceKind struct {
	name string
	list []*envoyconfig.Resource
}

func resourceKinds(r *envoyconfig.Resources) []resourceKind {
	return []resourceKind{{"listener", r.Listeners}, {"cluster", r.Clusters}, {"endpoint", r.Endpoints}, {"extension", r.Extensions}}
}

// rebuilt counts what is in now and was not in old, which is nil the first time.
func (m *Metrics) rebuilt(old, now *envoyconfig.Resources) {
	if old == nil {
		old = &envoyconfig.Resources{}
	}
	before := resourceKinds(old)
	for i, kind := range resourceKinds(now) {
		m.resources.WithLabelValues(kind.name).Add(float64(countNew(before[i].list, kind.list)))
	}
}

// countNew is how many of a list are not in the one before it. Both are sorted by
// name, and what did not change is the same Resource; there may be millions of them,
// so names are only read where the lists differ.
func countNew(old, list []*envoyconfig.Resource) (n int) {
	for _, r := range list {
		for len(old) > 0 && old[0] != r && old[0].Name < r.Name {
			old = old[1:]
		}
		if len(old) == 0 || old[0] != r {
			n++
		}
		if len(old) > 0 && (old[0] == r || old[0].Name == r.Name) {
			old = old[1:]
		}
	}
	return n
}
