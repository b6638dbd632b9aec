// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/rbac"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// listenerStats are a listener's counters under Envoy's names.
type listenerStats struct {
	total, active, destroyed, noChain, noExtension, tlsErrors, tlsHandshakes *stats.Value
}

func newListenerStats(r *stats.Registry, prefix string) *listenerStats {
	p := "listener." + prefix + "."
	return &listenerStats{
		total:         r.Counter(p + "downstream_cx_total"),
		active:        r.Gauge(p + "downstream_cx_active"),
		destroyed:     r.Counter(p + "downstream_cx_destroy"),
		noChain:       r.Counter(p + "no_filter_chain_match"),
		noExtension:   r.Counter(p + "extension_config_missing"),
		tlsErrors:     r.Counter(p + "ssl.connection_error"),
		tlsHandshakes: r.Counter(p + "ssl.handshake"),
	}
}

// tcpStats are the TCP proxy's counters.
type tcpStats struct{ total, received, sent, noRoute *stats.Value }

func newTCPStats(r *stats.Registry, prefix string) tcpStats {
	p := "tcp." + prefix + "."
	return tcpStats{
		total:    r.Counter(p + "downstream_cx_total"),
		received: r.Counter(p + "downstream_cx_rx_bytes_total"),
		sent:     r.Counter(p + "downstream_cx_tx_bytes_total"),
		noRoute:  r.Counter(p + "downstream_cx_no_route"),
	}
}

// rbacStats are an RBAC filter's counters.
type rbacStats struct {
	r              *stats.Registry
	rules, shadows string // what stands before their names
}

func newRBACStats(r *stats.Registry, prefix string, f *rbac.Filter) rbacStats {
	if f.StatPrefix != "" {
		prefix += strings.TrimSuffix(f.StatPrefix, ".") + "."
	}
	prefix += "rbac."
	return rbacStats{r: r, rules: prefix + f.RulesStatPrefix, shadows: prefix + f.ShadowStatPrefix}
}

func (s rbacStats) decided(allowed bool) {
	s.r.Counter(s.rules + outcome(allowed, "allowed", "denied")).Inc()
}

func (s rbacStats) tried(allowed bool) {
	s.r.Counter(s.shadows + outcome(allowed, "shadow_allowed", "shadow_denied")).Inc()
}

func outcome(allowed bool, yes, no string) string {
	if allowed {
		return yes
	}
	return no
}

// httpStats are the HTTP connection manager's counters.
type httpStats struct {
	r                                 *stats.Registry
	p                                 string
	connections, active               *stats.Value
	requests, requestsActive, noRoute *stats.Value
}

func newHTTPStats(r *stats.Registry, prefix string) httpStats {
	p := "http." + prefix + "."
	return httpStats{
		r: r, p: p,
		connections:    r.Counter(p + "downstream_cx_http2_total"),
		active:         r.Gauge(p + "downstream_cx_http2_active"),
		requests:       r.Counter(p + "downstream_rq_total"),
		requestsActive: r.Gauge(p + "downstream_rq_active"),
		noRoute:        r.Counter(p + "no_route"),
	}
}

// answered counts a response by the first digit of its status.
func (s httpStats) answered(status int) {
	s.r.Counter(fmt.Sprintf("%sdownstream_rq_%dxx", s.p, status/100)).Inc()
}
