// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/topologies"
)

// An install and a clean-up leave a node as it was, byte for byte, in both
// variants of iptables; a second install writes nothing.
func TestInstallAndCleanUp(t *testing.T) {
	for _, iptables := range []string{"nft", "legacy"} {
		t.Run(iptables, func(t *testing.T) {
			t.Parallel()
			l := bare(t, iptables)
			node := &l.Net.Topology.Nodes[0]
			before := nodeDump(t, l, node.Host)

			if err := l.StartNode(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			installed := nodeDump(t, l, node.Host)
			kill9(t, l, node.Host, nodeDaemon)

			if err := l.StartNode(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			compareDumps(t, installed, nodeDump(t, l, node.Host))
			checkNoWrites(t, l, node.Host)
			kill9(t, l, node.Host, nodeDaemon)

			output(t, l, node.Host, l.bin("ambient-node"), "cleanup",
				"--state-dir", filepath.Join(l.Net.Dir, node.Host), "--tunnel", l.Tunnel)
			compareDumps(t, before, nodeDump(t, l, node.Host))
		})
	}
}

// bare is a lab whose hosts are there and nothing else.
func bare(t *testing.T, iptables string) *Lab {
	t.Helper()
	o, err := options(t, iptables).Defaults()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { downAndCheck(t, o) })
	l, err := newLab(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.state().write(l.Net.Dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Net.Build(context.Background(), topologies.Article()); err != nil {
		t.Fatal(err)
	}
	if err := l.writeManifests(); err != nil {
		t.Fatal(err)
	}
	return l
}

// checkNoWrites asks the node controller how often it wrote to the kernel.
func checkNoWrites(t *testing.T, l *Lab, host string) {
	t.Helper()
	text, err := l.Get(t.Context(), host, "http://127.0.0.1:15014/metrics")
	if err != nil {
		t.Fatal(err)
	}
	ways := 0
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "ambient_node_kernel_writes_total{") {
			continue
		}
		ways++
		if !strings.HasSuffix(line, " 0") {
			t.Errorf("the second install wrote: %s", line)
		}
	}
	if ways == 0 {
		t.Error("the node controller does not count its writes")
	}
}
