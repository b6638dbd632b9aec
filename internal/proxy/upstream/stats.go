// SPDX-License-Identifier: Apache-2.0

package upstream

import "github.com/ambient22/ambient22/internal/proxy/stats"

// clusterStats are a cluster's counters under Envoy's names.
type clusterStats struct {
	total, active, connectFail, noneHealthy, headerInvalid *stats.Value
	requests, requestsActive, http2Total                   *stats.Value
}

func newStats(r *stats.Registry, name string) *clusterStats {
	p := "cluster." + name + "."
	return &clusterStats{
		total:          r.Counter(p + "upstream_cx_total"),
		active:         r.Gauge(p + "upstream_cx_active"),
		connectFail:    r.Counter(p + "upstream_cx_connect_fail"),
		noneHealthy:    r.Counter(p + "upstream_cx_none_healthy"),
		headerInvalid:  r.Counter(p + "original_dst_host_invalid"),
		requests:       r.Counter(p + "upstream_rq_total"),
		requestsActive: r.Gauge(p + "upstream_rq_active"),
		http2Total:     r.Counter(p + "upstream_cx_http2_total"),
	}
}

// opened counts a new connection and returns how to count its end.
func (s *clusterStats) opened() func() {
	s.total.Inc()
	s.active.Inc()
	return s.active.Dec
}
