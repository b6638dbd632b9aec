// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// secretDump is a config_dump with secrets in all the places that they may be in.
func secretDump(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"configs": []any{
		map[string]any{
			"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
			"dynamic_active_secrets": []any{map[string]any{"name": "spiffe://a", "secret": map[string]any{
				"name": "spiffe://a", "tls_certificate": map[string]any{"private_key": map[string]any{"inline_bytes": []byte(key)}},
			}}},
		},
		map[string]any{"bootstrap": map[string]any{
			"private_key": map[string]any{"inline_string": key}, "password": map[string]any{"inline_string": "hunter-two"}, "anything": token,
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestADumpOfANode(t *testing.T) {
	n := newNode(t, secretDump(t))
	netnstest.Run(t, "iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 1")
	netnstest.Run(t, "ip netns exec "+n.pod+" iptables-nft -t nat -A OUTPUT -p tcp -j RETURN")
	netnstest.Run(t, "ipset create ambient22-test hash:ip")
	path := filepath.Join(t.TempDir(), "dump.tar.gz")
	a := take(t, Options{Tool: "test", Pods: -1})
	if err := dump.WriteTo(path, a); err != nil {
		t.Fatal(err)
	}
	got, err := dump.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Gaps) != 0 {
		t.Errorf("gaps: %q", got.Gaps)
	}
	if got.Name != "node-t" || got.Host == nil || got.Ztunnel == nil || len(got.Pods) != 1 || got.Pods[0].Name != "default/sleep" {
		t.Fatalf("%+v", got)
	}
	h := got.Host
	if h.Legacy.Table("mangle") == nil || len(h.NFT.Tables) != 0 || len(h.Rules) != 4 || len(h.Sets) != 1 || h.Sysctls["net.ipv4.conf.vethz.rp_filter"] == "" {
		t.Errorf("the host: %+v", h)
	}
	if p := got.Pods[0]; p.NFT.Table("nat") == nil || len(p.Legacy.Tables) != 0 || len(p.Links) != 2 {
		t.Errorf("the pod: %+v", p)
	}
	if !strings.Contains(string(got.Ztunnel.ConfigDump), "spiffe://a") {
		t.Errorf("the configuration: %s", got.Ztunnel.ConfigDump)
	}
	if len(got.Workloads.Pods) != 3 {
		t.Errorf("%d workloads", len(got.Workloads.Pods))
	}
}

func TestNoSecretIsInAnArchive(t *testing.T) {
	newNode(t, secretDump(t))
	dir := filepath.Join(t.TempDir(), "dump")
	if err := dump.WriteTo(dir, take(t, Options{Pods: -1})); err != nil {
		t.Fatal(err)
	}
	read := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		for name, secret := range hidden() {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s has the %s", path, name)
			}
		}
		for _, word := range regexp.MustCompile(`[A-Za-z0-9+/=]{24,}`).FindAllString(string(text), -1) {
			if plain, err := base64.StdEncoding.DecodeString(word); err == nil && strings.Contains(string(plain), "PRIVATE KEY") {
				t.Errorf("%s has a key in base64", path)
			}
		}
		return nil
	})
	if err != nil || read < 20 {
		t.Errorf("%d files: %v", read, err)
	}
}

func TestADumpChangesNothing(t *testing.T) {
	n := newNode(t, `{"configs": []}`)
	// One table in the node, none in the pods: looking must not make more of them.
	netnstest.Run(t, "iptables-legacy -t raw -N ambient22-test")
	tables := func() string {
		var all string
		for _, in := range []string{"", "ip netns exec " + n.ztunnel + " ", "ip netns exec " + n.pod + " "} {
			all += netnstest.Run(t, in+"cat /proc/net/ip_tables_names") + "|" + netnstest.Run(t, in+"nft list tables") + "|" +
				netnstest.Run(t, in+"ip -4 rule") + netnstest.Run(t, in+"ip route show table all") + netnstest.Run(t, in+"ip -d addr") + "|"
		}
		return all
	}
	before := tables()
	if !strings.HasPrefix(before, "raw\n|") {
		t.Fatalf("the node has other tables than wanted: %s", before)
	}
	first := take(t, Options{Pods: -1})
	second := take(t, Options{Pods: -1})
	if after := tables(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for _, f := range first.Files {
		g, ok := second.File(f.Name)
		switch filepath.Base(f.Name) {
		case "conntrack.txt": // the requests of the first dump are in the second
		default:
			if !ok || lasting(f.Text) != lasting(g.Text) {
				t.Errorf("%s differs between two dumps:\n%s\n%s", f.Name, f.Text, g.Text)
			}
		}
	}
}

// lasting is a text without what changes by itself: times and counters.
func lasting(text string) string {
	text = regexp.MustCompile(`(?m)^# .*$`).ReplaceAllString(text, "#")
	text = regexp.MustCompile(`\[\d+:\d+\]`).ReplaceAllString(text, "[]")
	return regexp.MustCompile(`(?m)^net\.netfilter\.nf_conntrack_count = .*$`).ReplaceAllString(text, "")
}

func TestWithoutAnyProgram(t *testing.T) {
	newNode(t, `{"configs": []}`)
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	a, err := collect(t.Context(), Options{Pods: -1}.withDefaults(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := a.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if n.Host.Missing[dump.KindRules] != "ip: not installed" || n.Host.Missing[dump.KindSets] != "ipset: not installed" {
		t.Errorf("missing: %v", n.Host.Missing)
	}
	if len(n.Host.Sysctls) == 0 || n.Ztunnel == nil || len(n.Ztunnel.ConfigDump) == 0 {
		t.Errorf("what needs no program is not there: %s", gaps(a))
	}
}

func TestWithoutAZtunnelOrANodeController(t *testing.T) {
	netnstest.Enter(t)
	a := take(t, Options{Node: "n"})
	for _, want := range []string{"workloads: no node controller listens at 127.0.0.1:15014", "ztunnel: the node has no device istioout or istioin"} {
		if !strings.Contains(gaps(a), want) {
			t.Errorf("no gap %q in\n%s", want, gaps(a))
		}
	}
	if a.Header.Node != "n" || len(a.Files) != len(hostKinds()) {
		t.Errorf("node %q, %d files", a.Header.Node, len(a.Files))
	}
}

func TestOnlyThisNamespace(t *testing.T) {
	n := newNode(t, `{"configs": []}`)
	inNetns(t, n.ztunnel, func() {
		a := take(t, Options{Only: dump.ZtunnelSpace, Node: "n"})
		if _, ok := a.File("ztunnel/config_dump.json"); !ok || gaps(a) != "" {
			t.Errorf("gaps: %s", gaps(a))
		}
	})
	a := take(t, Options{Only: dump.HostSpace})
	if _, ok := a.File("workloads.json"); !ok || a.Header.Node != "node-t" {
		t.Errorf("node %q, gaps: %s", a.Header.Node, gaps(a))
	}
}

func TestFewerPodsAreAGap(t *testing.T) {
	newNode(t, `{"configs": []}`)
	a := take(t, Options{})
	if !strings.Contains(gaps(a), "1 pods' namespaces are left out: --pods 0") {
		t.Errorf("gaps: %s", gaps(a))
	}
}

// programs writes scripts that stand for programs, into a folder.
func programs(t *testing.T, scripts map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return []string{dir}
}

func TestProgramsThatMisbehave(t *testing.T) {
	netnstest.Enter(t)
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	folders := programs(t, map[string]string{
		"ip":            `case "$*" in *rule*) sleep 60 & sleep 60;; *route*) echo oops >&2; exit 3;; *addr*) while :; do echo 1: x: "<UP>"; done;; esac`,
		"conntrack":     `for i in 1 2 3 4 5 6 7 8 9; do echo "line $i"; done`,
		"iptables-save": `case "$*" in *version*) echo "iptables-save v1.8.9 (nf_tables)";; *) echo "# as asked";; esac`,
		"nft":           `echo half a line`,
	})
	begun := time.Now()
	a, err := collect(t.Context(), Options{Timeout: time.Second, MaxFile: 1 << 16, MaxConns: 5}.withDefaults(), here, folders)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, want := range []string{"host: ip-rule: ip did not end in time", "host: ip-route: ip: exit status 3: oops"} {
		if !strings.Contains(gaps(a), want) {
			t.Errorf("no gap %q in\n%s", want, gaps(a))
		}
	}
	links, _ := a.File("host/ip-addr.txt")
	if len(links.Text) > 1<<16 || len(links.Text) < 1<<15 || links.Truncated == "" || !strings.HasSuffix(links.Text, "\n") {
		t.Errorf("%d bytes of an endless text: %q", len(links.Text), links.Truncated)
	}
	conns, _ := a.File("host/conntrack.txt")
	if conns.Text != "line 1\nline 2\nline 3\nline 4\nline 5\n" || conns.Truncated == "" {
		t.Errorf("%q: %q", conns.Truncated, conns.Text)
	}
	if save, _ := a.File("host/iptables-nft-save.txt"); save.Text != "# as asked\n" {
		t.Errorf("the program without a variant in its name gave %q", save.Text)
	}
}

func TestTheWholeDumpIsBounded(t *testing.T) {
	newNode(t, `{"configs": []}`)
	a := take(t, Options{MaxTotal: 3000, Pods: -1})
	size, cut := 0, 0
	for _, f := range a.Files {
		size += len(f.Text)
		if f.Truncated != "" {
			cut++
		}
	}
	if size > 3000 || cut == 0 {
		t.Errorf("%d bytes, %d files are cut off", size, cut)
	}
}
