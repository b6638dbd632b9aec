// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	nodedump "github.com/ambient22/ambient22/internal/dump"
)

// testNodeDump takes dumps of both nodes through the API server, without a login on
// any of them.
func (w *world) testNodeDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dump")
	start := time.Now()
	if said, err := ambientctl(t.Context(), "dump", "--all-nodes", "--out", dir); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	figure(t, "ambientctl dump --all-nodes: %.1f s", time.Since(start).Seconds())
	dumps, err := nodedump.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(dumps) != len(nodes()) {
		t.Fatalf("%d dumps", len(dumps))
	}
	for i, n := range dumps {
		if n.Name != nodes()[i] || n.Host == nil || n.Ztunnel == nil || len(n.Ztunnel.ConfigDump) == 0 || n.Workloads == nil {
			t.Fatalf("the dump of %s lacks something: %q", n.Name, n.Gaps)
		}
		// The pods' own namespaces, which this way does not reach.
		if len(n.Gaps) != 1 {
			t.Errorf("%s: %q", n.Name, n.Gaps)
		}
		if n.Host.NFT.Table("mangle").Chain("ztunnel-PREROUTING") == nil || n.Host.NFT.Table("nat").Chain("KUBE-SERVICES") == nil {
			t.Errorf("%s: our rules or kube-proxy's are missing", n.Name)
		}
	}
}
