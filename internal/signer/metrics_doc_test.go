// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/internal/csr"
)

func TestDocumentationNamesMetricsAndReasons(t *testing.T) {
	text, err := os.ReadFile("../../docs/identities.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	registry := prometheus.NewRegistry()
	newMetrics(registry)
	csr.New(csr.Config{Registerer: registry})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 14 {
		t.Errorf("%d metrics", len(families))
	}
	for _, f := range families {
		if !strings.Contains(doc, "| `"+f.GetName()+"` |") {
			t.Errorf("docs/identities.md does not say what %s is", f.GetName())
		}
	}
	for _, reason := range Reasons() {
		if !strings.Contains(doc, "`"+reason+"`") {
			t.Errorf("docs/identities.md does not say when %s is the answer", reason)
		}
	}
}
