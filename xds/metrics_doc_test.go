// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"os"
	"strings"
	"testing"
)

func TestEveryMetricIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/xds.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := start(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) == 0 {
		t.Fatal("there are none")
	}
	for _, f := range families {
		if !strings.Contains(string(doc), "| `"+f.GetName()+"` |") {
			t.Errorf("docs/xds.md does not say what %s is", f.GetName())
		}
	}
}
