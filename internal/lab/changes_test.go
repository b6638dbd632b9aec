// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A broken manifest is named with file, object and field, and changes nothing;
// a mended one is taken, and pods come, go, and hand on their address.
func TestManifestsThatChange(t *testing.T) {
	l := up(t, "nft")
	node := l.Net.Topology.Nodes[0].Host
	log := l.Net.LogFile(node, nodeDaemon)
	mustCall(t, l)
	before, config := nodeDump(t, l, node), served(t, l)

	httpbin := filepath.Join(l.Manifests(), "httpbin.yaml")
	good, err := os.ReadFile(httpbin)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct{ from, to, say string }{
		{"10.4.4.11", "10.4.4.311", "Pod default/httpbin-847f64cc8d-x2v9q: status.podIP"},
		{"10.4.4.11", "fd00::11", "IPv6"},
		{"10.4.4.11", "10.4.4.19", "Pod default/sleep-5644bdc767-2dfg7: status.podIP: 10.4.4.19"},
		{"nodeName: gke", "nodeName: eke", "spec.nodeName"},
		{"kind: Pod", "kind: [Pod", "httpbin.yaml"},
	} {
		text := strings.ReplaceAll(string(good), broken.from, broken.to)
		if text == string(good) {
			t.Fatalf("%q does not stand in %s", broken.from, httpbin)
		}
		replace(t, httpbin, text)
		eventually(t, "the error says "+broken.say, func() error {
			return contains(log, "manifests/", "httpbin", broken.say)
		})
		compareDumps(t, before, nodeDump(t, l, node))
		if now := served(t, l); now != config {
			t.Errorf("after %q the ztunnel's configuration is another one", broken.to)
		}
		mustCall(t, l)
	}

	members := func() string { return output(t, l, node, "ipset", "list", "ztunnel-pods-ips") }
	routes := func() string { return output(t, l, node, "ip", "route", "show", "table", "100") }
	replace(t, httpbin, strings.ReplaceAll(string(good), "uid: a1111111-0000-4000-8000-000000000011", "uid: b2222222-0000-4000-8000-000000000011"))
	eventually(t, "the address belongs to the new pod", func() error {
		return want(members(), `10.4.4.11 comment "b2222222-0000-4000-8000-000000000011"`)
	})
	if err := os.Remove(httpbin); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is released", func() error {
		if err := want(members(), "10.4.4.11 "); err == nil {
			return fmt.Errorf("10.4.4.11 is still in the set")
		}
		if err := want(routes(), "10.4.4.11 "); err == nil {
			return fmt.Errorf("10.4.4.11 still has a route")
		}
		return nil
	})
	replace(t, httpbin, string(good))
	eventually(t, "the pod is back", func() error { return want(routes(), "10.4.4.11 via 192.168.126.2") })
	compareDumps(t, before, nodeDump(t, l, node))
	mustCall(t, l)
}

// replace puts a file in another's place at once, as editors and kubectl do.
func replace(t *testing.T, name, text string) {
	t.Helper()
	fresh := filepath.Join(t.TempDir(), "fresh")
	if err := os.WriteFile(fresh, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, name); err != nil {
		t.Fatal(err)
	}
}

func readManifest(t *testing.T, l *Lab, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Manifests(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func contains(file string, words ...string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		missing := 0
		for _, word := range words {
			if !strings.Contains(line, word) {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s has no line with %q", file, words)
}

func want(text, part string) error {
	if strings.Contains(text, part) {
		return nil
	}
	return fmt.Errorf("no %q in:\n%s", part, text)
}

// served is the listeners' part of what the caller's ztunnel was served.
func served(t *testing.T, l *Lab) string {
	t.Helper()
	text, err := l.Get(t.Context(), l.Net.Topology.Nodes[0].Ztunnel, "http://127.0.0.1:15000/config_dump?resource=dynamic_listeners")
	if err != nil {
		t.Fatal(err)
	}
	return text
}
