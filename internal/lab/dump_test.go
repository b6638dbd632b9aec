// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
)

// A dump of the lab is both nodes with all their pods, without a gap, and has
// none of the keys that the lab runs on.
func TestDump(t *testing.T) {
	for _, iptables := range []string{"nft", "legacy"} {
		t.Run(iptables, func(t *testing.T) {
			o := options(t, iptables)
			t.Cleanup(func() { downAndCheck(t, o) })
			if code, _, stderr := ctl(t, "", o.flags("up", "--here", "--tunnel", "vxlan", "--iptables", iptables)...); code != 0 {
				t.Fatalf("up: exit code %d: %s", code, stderr)
			}
			if code, _, stderr := ctl(t, "", inSleep(o, "get", callURL)...); code != 0 {
				t.Fatalf("a call: exit code %d: %s", code, stderr)
			}
			dir := filepath.Join(t.TempDir(), "dump")
			if code, _, stderr := ctl(t, "", o.flags("dump", "--out", dir)...); code != 0 || strings.Contains(stderr, "not in the dump") {
				t.Fatalf("dump: exit code %d: %s", code, stderr)
			}
			code, packed, stderr := ctl(t, "", o.flags("exec", "node-a", "--", "ambientctl", "dump", "--out", "-")...)
			if archives, err := dump.LoadFrom(strings.NewReader(packed)); code != 0 || err != nil || len(archives) != 1 {
				t.Errorf("dump on a node: exit code %d, %v: %s", code, err, stderr)
			}
			nodes, err := dump.OpenAll(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(nodes) != 2 {
				t.Fatalf("%d nodes", len(nodes))
			}
			for _, n := range nodes {
				checkNodeDump(t, n, iptables)
			}
			checkNoKeys(t, dir, filepath.Join(o.StateDir, o.Name))
		})
	}
}

func checkNodeDump(t *testing.T, n *dump.Node, iptables string) {
	t.Helper()
	if len(n.Gaps) != 0 || n.Host == nil || n.Ztunnel == nil {
		t.Fatalf("%s: gaps %q", n.Name, n.Gaps)
	}
	with, without := n.Host.NFT, n.Host.Legacy
	if iptables == "legacy" {
		with, without = without, with
	}
	if table := with.Table("mangle"); table == nil || table.Chain("ztunnel-PREROUTING") == nil || len(without.Tables) != 0 {
		t.Errorf("%s: the rules are not in the variant %s alone", n.Name, iptables)
	}
	captured := 0
	for _, p := range n.Workloads.Pods {
		if p.Node == n.Name && p.Captured {
			captured++
		}
	}
	if captured == 0 || len(n.Pods) < captured || len(n.Host.Sets) != 1 || len(n.Host.Sets[0].Entries) != captured {
		t.Errorf("%s: %d pods are captured; %d namespaces, %d sets", n.Name, captured, len(n.Pods), len(n.Host.Sets))
	}
}

// checkNoKeys looks in all files of a dump for the keys that are in files of the lab.
func checkNoKeys(t *testing.T, dir, lab string) {
	t.Helper()
	var keys []string
	each(t, lab, func(_, text string) {
		for rest := []byte(text); ; {
			block, more := pem.Decode(rest)
			if block == nil {
				return
			}
			if rest = more; strings.Contains(block.Type, "PRIVATE KEY") {
				body := strings.Split(string(pem.EncodeToMemory(block)), "\n")
				keys = append(keys, body[1:len(body)-2]...)
			}
		}
	})
	if len(keys) == 0 {
		t.Error("the lab has no key that could be looked for")
	}
	each(t, dir, func(path, text string) {
		for _, key := range append(keys, "PRIVATE KEY") {
			if strings.Contains(text, key) {
				t.Errorf("%s has a key in it", path)
			}
		}
	})
}

// each calls do with all files below a folder.
func each(t *testing.T, dir string, do func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			do(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
