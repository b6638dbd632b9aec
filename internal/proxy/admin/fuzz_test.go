// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/state"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// FuzzPrometheus takes any name of a statistic: names hold what was served, such
// as a cluster's name, and none may break the format for the others.
func FuzzPrometheus(f *testing.F) {
	for _, name := range []string{"cluster.a.upstream_cx_total", "cluster.", "listener..x", "tcp.a\"b\n.c", "server.live", "http.x.ssl.y", ""} {
		f.Add(name)
	}
	line := regexp.MustCompile(`^(# TYPE [a-zA-Z_][a-zA-Z0-9_]* (counter|gauge)|[a-zA-Z_][a-zA-Z0-9_]*\{([a-z_]+="([^"\\]|\\["\\n])*")?\} -?\d+)$`)
	f.Fuzz(func(t *testing.T, name string) {
		var r stats.Registry
		r.Counter(name).Add(7)
		h := admin.New(admin.Config{Source: &source{snapshot: &state.Snapshot{}}, Stats: &r})
		body := get(t, h, "/stats/prometheus")
		for _, l := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
			if !line.MatchString(l) {
				t.Errorf("statistic %q gives the line %q", name, l)
			}
		}
	})
}

// FuzzDumpQuery asks for whatever; the answer may be a refusal, never a crash.
func FuzzDumpQuery(f *testing.F) {
	f.Add("dynamic_listeners", "a.*")
	f.Add("configs", "(")
	f.Add("last_updated", "")
	h := admin.New(admin.Config{Source: &source{snapshot: &state.Snapshot{}}})
	f.Fuzz(func(t *testing.T, resource, name string) {
		query := url.Values{"resource": {resource}, "name_regex": {name}, "include_eds": {""}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/config_dump?"+query.Encode(), nil))
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusNotFound:
		default:
			t.Errorf("resource %q, name_regex %q: %d %s", resource, name, w.Code, w.Body)
		}
	})
}
