// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// prometheus answers /stats/prometheus.
func (s *server) prometheus(w http.ResponseWriter, r *http.Request) {
	samples, err := pickSamples(s.samples(), r.URL.Query())
	if err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	s.replyPrometheus(w, samples)
}

func (s *server) replyPrometheus(w http.ResponseWriter, samples []stats.Sample) {
	reply(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", []byte(prometheusText(samples)))
}

// metric is one sample as Prometheus names it.
type metric struct {
	name         string // envoy_cluster_upstream_cx_total
	label, value string // envoy_cluster_name, the cluster; "" for none
	sample       stats.Sample
}

// prometheusText is the text exposition format: the metrics in order of their
// names, each with its type, under the names and labels that Envoy gives them.
func prometheusText(samples []stats.Sample) string {
	metrics := make([]metric, 0, len(samples))
	for _, sample := range samples {
		metrics = append(metrics, asMetric(sample))
	}
	slices.SortStableFunc(metrics, func(a, b metric) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
	})
	var b strings.Builder
	for i, m := range metrics {
		if i == 0 || metrics[i-1].name != m.name {
			fmt.Fprintf(&b, "# TYPE %s %s\n", m.name, prometheusType(m.sample.Kind))
		}
		if m.label == "" {
			fmt.Fprintf(&b, "%s{} %d\n", m.name, m.sample.Value)
			continue
		}
		fmt.Fprintf(&b, "%s{%s=\"%s\"} %d\n", m.name, m.label, escapeLabel(m.value), m.sample.Value)
	}
	return b.String()
}

func prometheusType(k stats.Kind) string {
	if k == stats.Counter {
		return "counter"
	}
	return "gauge"
}

// asMetric takes the part of a name that says which cluster, listener or filter
// is meant out of it and makes it a label, as Envoy does by its tag rules.
func asMetric(sample stats.Sample) metric {
	m := metric{name: "envoy_" + metricName(sample.Name), sample: sample}
	for _, tagged := range []struct{ prefix, label string }{
		{"cluster", "envoy_cluster_name"},
		{"listener", "envoy_listener_address"},
		{"tcp", "envoy_tcp_prefix"},
		{"http", "envoy_http_conn_manager_prefix"},
	} {
		rest, ok := strings.CutPrefix(sample.Name, tagged.prefix+".")
		if !ok {
			continue
		}
		if subject, stat := splitStat(rest); subject != "" {
			m.name = "envoy_" + tagged.prefix + "_" + metricName(stat)
			m.label, m.value = tagged.label, subject
		}
		break
	}
	return m
}

// splitStat divides "NAME.stat". Names hold dots themselves (a SPIFFE URI with a
// service's host name), so the stat is what stands behind the last one, together
// with the groups of statistics that stand before it.
func splitStat(s string) (subject, stat string) {
	end := strings.LastIndexByte(s, '.')
	for end > 0 {
		before := strings.LastIndexByte(s[:end], '.')
		if before < 0 || !statGroup(s[before+1:end]) {
			break
		}
		end = before
	}
	if end <= 0 {
		return "", s
	}
	return s[:end], s[end+1:]
}

// statGroup reports whether a part of a name is a group of statistics inside a
// cluster's or a listener's own.
func statGroup(part string) bool {
	switch part {
	case "ssl", "http2", "rbac", "circuit_breakers", "default", "high", "update":
		return true
	}
	return strings.HasPrefix(part, "worker_")
}

// metricName turns what Prometheus does not take in a name into underscores.
func metricName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}
