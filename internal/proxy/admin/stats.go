// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// statsPage answers /stats.
func (s *server) statsPage(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	samples, err := pickSamples(s.samples(), query)
	if err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	switch format := query.Get("format"); format {
	case "", "text":
		text(w, http.StatusOK, statsText(samples))
	case "json":
		body, err := statsJSON(samples)
		if err != nil {
			text(w, http.StatusInternalServerError, err.Error()+"\n")
			return
		}
		reply(w, http.StatusOK, "application/json", body)
	case "prometheus":
		s.replyPrometheus(w, samples)
	default:
		text(w, http.StatusBadRequest, fmt.Sprintf("unknown format %q; use text, json or prometheus\n", format))
	}
}

// pickSamples applies ?filter, a regular expression found anywhere in the name,
// and ?usedonly. A value is used once it has been other than zero; one that has
// come back to zero can't be told from an unused one and is left out too.
func pickSamples(samples []stats.Sample, query url.Values) ([]stats.Sample, error) {
	expression, err := regexp.Compile(query.Get("filter"))
	if err != nil {
		return nil, fmt.Errorf("reading filter: %w", err)
	}
	usedOnly := query.Has("usedonly")
	var out []stats.Sample
	for _, sample := range samples {
		if (usedOnly && sample.Value == 0) || !expression.MatchString(sample.Name) {
			continue
		}
		out = append(out, sample)
	}
	return out, nil
}

func statsText(samples []stats.Sample) string {
	var b strings.Builder
	for _, sample := range samples {
		fmt.Fprintf(&b, "%s: %d\n", sample.Name, sample.Value)
	}
	return b.String()
}

// statsJSON is Envoy's {"stats":[{"name":...,"value":...},...]}.
func statsJSON(samples []stats.Sample) ([]byte, error) {
	type stat struct {
		Name  string `json:"name"`
		Value int64  `json:"value"`
	}
	list := make([]stat, 0, len(samples))
	for _, sample := range samples {
		list = append(list, stat{sample.Name, sample.Value})
	}
	body, err := json.Marshal(struct {
		Stats []stat `json:"stats"`
	}{list})
	if err != nil {
		return nil, fmt.Errorf("printing statistics: %w", err)
	}
	return append(body, '\n'), nil
}
