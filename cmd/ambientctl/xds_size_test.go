// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/meshsize"
)

func TestSize(t *testing.T) {
	mesh := []string{"xds", "size", "--manifests", twoPods, "--node", nodeA}
	code, text, stderr := ambientctl(t, "", mesh...)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		`(?m)^node ` + nodeA + `, profile article, dialect istio-1.16$`,
		`(?m)^listeners +5 +13 +1[0-9],[0-9]{3}$`,
		`(?m)^clusters +12 +[0-9],[0-9]{3}$`,
		`(?m)^all +22 +[0-9]{2},[0-9]{3}$`,
		`(?m)^pod, new identity, on this node +listeners +1 +3 `,
		`(?m)^endpoint of a service +endpoints +0 +2 `,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	code, text, _ = ambientctl(t, "", append(mesh, "--json", "--profile=hardened", "--dialect=upstream")...)
	var report meshsize.Report
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil || code != 0 || len(report.Kinds) != 4 || report.Kinds[0].Resources == 0 || len(report.Steps) != 6 {
		t.Errorf("exit code %d, %v:\n%s", code, err, text)
	}
	if code, text, stderr := ambientctl(t, "", "xds", "size", "--node=x"); code != 1 || text != "" || !strings.Contains(stderr, "--manifests is required") {
		t.Errorf("exit code %d, %q, %q", code, text, stderr)
	}
}

func TestDigits(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 123456: "123,456"} {
		if got := digits(n); got != want {
			t.Errorf("%d is written %q", n, got)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := (table{{"a", "n"}, {"wörd", "1"}, {"", "100"}}).print(&out, 1); err != nil {
		t.Fatal(err)
	}
	if want := "a       n\nwörd    1\n      100\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}
