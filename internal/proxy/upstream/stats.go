// SPDX-License-Identifier: Apache-2.0

package upstream

import "github.com/ambient22/ambient22/internal/proxy/stats"

// clusterStats are a cluster's counters under Envoy's names.
type clusterStats struct {
	total, active, connectFail, noneHealthy, headerInvalid *stats.Value
	requests, requestsActive, http2Total                   *stats.Value
}

// The names of a cluster's values, after "cluster.NAME.".
const (
	statTotal          = "upstream_cx_total"
	statActive         = "upstream_cx_active"
	statConnectFail    = "upstream_cx_connect_fail"
	statNoneHealthy    = "upstream_cx_none_healthy"
	statHeaderInvalid  = "original_dst_host_invalid"
	statRequests       = "upstream_rq_total"
	statRequestsActive = "upstream_rq_active"
	statHTTP2Total     = "upstream_cx_http2_total"
)

func newStats(r *stats.Registry, name string) *clusterStats {
	p := statPrefix(name)
	return &clusterStats{
		total:          r.Counter(p + statTotal),
		active:         r.Gauge(p + statActive),
		connectFail:    r.Counter(p + statConnectFail),
		noneHealthy:    r.Counter(p + statNoneHealthy),
		headerInvalid:  r.Counter(p + statHeaderInvalid),
		requests:       r.Counter(p + statRequests),
		requestsActive: r.Gauge(p + statRequestsActive),
		http2Total:     r.Counter(p + statHTTP2Total),
	}
}

// removeStats forgets the values of a cluster that is gone.
func removeStats(r *stats.Registry, name string) {
	names := []string{statTotal, statActive, statConnectFail, statNoneHealthy, statHeaderInvalid, statRequests, statRequestsActive, statHTTP2Total}
	for i := range names {
		names[i] = statPrefix(name) + names[i]
	}
	r.Remove(names...)
}

func statPrefix(cluster string) string { return "cluster." + cluster + "." }

// opened counts a new connection and returns how to count its end.
func (s *clusterStats) opened() func() {
	s.total.Inc()
	s.active.Inc()
	return s.active.Dec
}
