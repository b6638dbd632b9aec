// SPDX-License-Identifier: Apache-2.0

// Package dumptest opens the dumps of real nodes that other packages test with.
// internal/dump/testdata/README.md says what they are.
package dumptest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
)

// The fixtures. Each is two nodes, A first; but for Cluster they are the article's.
const (
	Geneve   = "article-geneve"   // legacy iptables
	Hardened = "article-hardened" // legacy iptables, hardened profile
	NFT      = "article-nft"      // VXLAN in place of Geneve, iptables on nf_tables
	VXLAN    = "article-vxlan"    // VXLAN in place of Geneve, legacy iptables
	Cluster  = "cluster"          // Kubernetes with kube-proxy; VXLAN, iptables on nf_tables
)

// Lab are the fixtures of the lab.
func Lab() []string { return []string{Geneve, Hardened, NFT, VXLAN} }

// All are all fixtures.
func All() []string { return append(Lab(), Cluster) }

// Open opens all nodes of a fixture. Where a fixture has no config_dump because it is
// that of Geneve, it has it here.
func Open(t testing.TB, fixture string) []*dump.Node {
	t.Helper()
	nodes, err := dump.OpenAll(Path(t, fixture))
	if err != nil {
		t.Fatal(err)
	}
	if fixture == NFT || fixture == VXLAN {
		lend(t, nodes)
	}
	return nodes
}

// lend gives nodes the config_dumps of the Geneve fixture.
func lend(t testing.TB, nodes []*dump.Node) {
	t.Helper()
	from := Open(t, Geneve)
	for i, n := range nodes {
		n.Ztunnel.ConfigDump = from[i].Ztunnel.ConfigDump
		n.Ztunnel.Files[dump.KindConfigDump] = from[i].Ztunnel.Files[dump.KindConfigDump]
		delete(n.Ztunnel.Missing, dump.KindConfigDump)
	}
}

// Path is where a fixture is, or a file below one. It looks for the module's root
// from the package under test, which is the folder that tests run in.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		path := filepath.Join(dir, "internal/dump/testdata")
		if _, statErr := os.Stat(path); statErr == nil {
			return filepath.Join(path, filepath.FromSlash(name))
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	t.Fatalf("finding the fixture %s: no internal/dump/testdata above the package (%v)", name, err)
	return ""
}
