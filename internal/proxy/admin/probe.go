// SPDX-License-Identifier: Apache-2.0

package admin

import "net/http"

// The paths that others than the administrator ask, on addresses of their own:
// the kubelet the first (port 15021 by custom), Prometheus the second (15020).
const (
	ReadinessPath = "/healthz/ready"
	MetricsPath   = "/stats/prometheus"
)

// Readiness is the handler of the readiness port: 200 on ReadinessPath while
// ready says so, else 503. It shows nothing else, because the kubelet reaches it
// on the pod's own address, and so does everybody in the cluster.
func Readiness(ready func(*http.Request) bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ReadinessPath, func(w http.ResponseWriter, r *http.Request) {
		if !ready(r) {
			text(w, http.StatusServiceUnavailable, "not ready\n")
			return
		}
		text(w, http.StatusOK, "ready\n")
	})
	return mux
}

// Metrics is the handler of the metrics port: the statistics in Prometheus' text
// format on MetricsPath, and nothing else.
func Metrics(c Config) http.Handler {
	s := newServer(c)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+MetricsPath, s.prometheus)
	return mux
}
