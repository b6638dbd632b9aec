// SPDX-License-Identifier: Apache-2.0

package dump_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/conntrack"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/nft"
	"github.com/ambient22/ambient22/internal/dump/setsave"
	"github.com/ambient22/ambient22/internal/dump/sysctl"
)

// printed parses a text of that kind and prints it again.
func printed(kind dump.Kind, file, text string) (string, error) {
	switch kind {
	case dump.KindNFTSave, dump.KindLegacySave:
		save, err := iptsave.Parse(file, text)
		if err != nil {
			return "", err
		}
		return save.String(), nil
	case dump.KindRuleset:
		return again(file, text, nft.Parse, nft.Print)
	case dump.KindRules:
		return again(file, text, iproute.ParseRules, iproute.PrintRules)
	case dump.KindRoutes:
		return again(file, text, func(file, text string) ([]*iproute.Route, error) {
			return iproute.ParseRoutes(file, text, 0)
		}, iproute.PrintRoutes)
	case dump.KindLinks:
		return again(file, text, iproute.ParseLinks, iproute.PrintLinks)
	case dump.KindSets:
		return again(file, text, setsave.Parse, setsave.Print)
	case dump.KindConns:
		return again(file, text, conntrack.Parse, conntrack.Print)
	case dump.KindSysctls:
		return again(file, text, sysctl.Parse, sysctl.Print)
	}
	return text, nil
}

func again[T any](file, text string, parse func(file, text string) (T, error), print func(T) string) (string, error) {
	parsed, err := parse(file, text)
	if err != nil {
		return "", err
	}
	return print(parsed), nil
}

func TestEveryTextOfTheFixturesIsPrintedAsItWas(t *testing.T) {
	seen := map[dump.Kind]int{}
	for _, fixture := range dumptest.All() {
		archives, err := dump.Load(dumptest.Path(t, fixture))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range archives {
			for _, f := range a.Files {
				kind := dump.Kind(strings.TrimSuffix(filepath.Base(f.Name), filepath.Ext(f.Name)))
				name := filepath.Join(fixture, a.Header.Node, f.Name)
				got, err := printed(kind, name, f.Text)
				if err != nil {
					t.Errorf("parsing: %v", err)
					continue
				}
				if got != f.Text {
					t.Errorf("%s is printed otherwise:\n%s", name, firstDifference(f.Text, got))
				}
				if f.Text != "" {
					seen[kind]++
				}
			}
		}
	}
	for _, kind := range dump.Kinds() {
		if seen[kind] == 0 {
			t.Errorf("no fixture has a text of the kind %s", kind)
		}
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "is  " + g[i] + "\nwas " + w[i]
		}
	}
	return "one of them is longer"
}

// files are all files below a folder by their names.
func files(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnArchiveThatIsReadAndWrittenIsTheSame(t *testing.T) {
	for _, fixture := range dumptest.All() {
		for _, node := range []string{"node-a", "node-b"} {
			was := dumptest.Path(t, fixture+"/"+node)
			archives, err := dump.Load(was)
			if err != nil {
				t.Fatal(err)
			}
			asFolder, asFile := filepath.Join(t.TempDir(), "dump"), filepath.Join(t.TempDir(), "dump.tar.gz")
			if err := dump.WriteTo(asFile, archives...); err != nil {
				t.Fatal(err)
			}
			if archives, err = dump.Load(asFile); err != nil {
				t.Fatal(err)
			}
			if err := dump.WriteTo(asFolder, archives...); err != nil {
				t.Fatal(err)
			}
			want, got := files(t, was), files(t, asFolder)
			for name, text := range want {
				if got[name] != text {
					t.Errorf("%s/%s: %s is not the same:\n%s", fixture, node, name, firstDifference(text, got[name]))
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s/%s: %d files became %d", fixture, node, len(want), len(got))
			}
		}
	}
}

func TestTheFixturesAreWhole(t *testing.T) {
	for _, fixture := range dumptest.All() {
		nodes := dumptest.Open(t, fixture)
		if len(nodes) != 2 {
			t.Fatalf("%s: %d nodes", fixture, len(nodes))
		}
		for i, ip := range []string{"10.4.4.18", "10.4.3.14"} {
			if fixture == dumptest.Cluster {
				ip = []string{"10.4.4.7", "10.4.3.7"}[i]
			}
			n := nodes[i]
			if n.Host == nil || n.Ztunnel == nil || len(n.Pods) == 0 || n.Workloads == nil || n.Loose {
				t.Fatalf("%s, %s: %+v", fixture, n.Name, n)
			}
			if len(n.Host.Rules) != 7 || len(n.Host.Sets) != 1 || n.Host.Sysctls["net.ipv4.ip_forward"] != "1" {
				t.Errorf("%s, %s: %d ip rules, %d sets, forwarding %q", fixture, n.Name, len(n.Host.Rules), len(n.Host.Sets), n.Host.Sysctls["net.ipv4.ip_forward"])
			}
			for _, ns := range append([]*dump.Netns{n.Host, n.Ztunnel}, n.Pods...) {
				for kind, why := range ns.Missing {
					if ns == n.Ztunnel || kind != dump.KindConfigDump && (kind != dump.KindConns || ns == n.Host) {
						t.Errorf("%s, %s, %s: %s is missing: %s", fixture, n.Name, ns.Name, kind, why)
					}
				}
			}
			out := device(n.Host, "istioout")
			if out == nil || out.Tunnel == nil || out.Tunnel.Remote.String() != ip || out.Tunnel.VNI != 1001 {
				t.Errorf("%s, %s: istioout is %+v", fixture, n.Name, out)
			}
			if len(n.Ztunnel.ConfigDump) == 0 {
				t.Errorf("%s, %s: no config_dump", fixture, n.Name)
			}
		}
	}
}

func device(ns *dump.Netns, name string) *iproute.Link {
	for _, l := range ns.Links {
		if l.Name == name {
			return l
		}
	}
	return nil
}
