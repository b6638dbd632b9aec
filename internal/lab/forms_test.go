// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every form of the lab carries the article's call as the article says, and
// refuses what its policies forbid.
func TestReportInEveryForm(t *testing.T) {
	inEveryForm(t, func(t *testing.T, l *Lab) {
		compareWithRender(t, l)
		r, err := l.run(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range append(r.Proof.Findings, r.Policies...) {
			if !f.OK {
				t.Errorf("%s\n%s\n%s", f.Title, f.Text, strings.Join(f.Details, "\n"))
			}
		}
		tried := 3
		if l.hardened() {
			tried = 10
		}
		if len(r.Policies) != tried {
			t.Errorf("%d things were tried, want %d", len(r.Policies), tried)
		}
		if compared := len(r.Listings) > 0; compared != l.asInTheArticle() {
			t.Errorf("%d listings were compared", len(r.Listings))
		}
		if ok := r.OK(); ok == l.asInTheArticle() { // three listings print VXLAN
			t.Errorf("the report says OK: %v", ok)
		}
		var text bytes.Buffer
		if err := PrintReport(&text, r); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"profile " + l.Profile + ", dialect " + l.Dialect, "refused on 15008", "refused on 15006", "rbac.denied went from"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the report lacks %q:\n%s", want, &text)
			}
		}
	})
}

// compareWithRender holds each running ztunnel against what it should have, as a
// person does: xds render, config_dump, xds diff.
func compareWithRender(t *testing.T, l *Lab) {
	for _, node := range l.Net.Topology.Nodes {
		code, expected, stderr := ctl(t, "", "xds", "render", "--manifests", l.Manifests(), "--node", node.Name, "--kind", "all",
			"--profile", l.Profile, "--dialect", l.Dialect)
		if code != 0 {
			t.Fatal(stderr)
		}
		file := filepath.Join(t.TempDir(), "expected.json")
		if err := os.WriteFile(file, []byte(expected), 0o600); err != nil {
			t.Fatal(err)
		}
		dump := output(t, l, node.Ztunnel, "curl", "-s", "127.0.0.1:15000/config_dump?include_eds")
		if code, stdout, stderr := ctl(t, dump, "xds", "diff", file, "-"); code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", node.Ztunnel, code, stdout, stderr)
		}
	}
}

// What the hardened profile closes is open in the article's, as it was in 2022:
// whoever reads of a hole here can see it.
func TestWhatTheArticlesProfileLeavesOpen(t *testing.T) {
	for _, dialect := range []string{"istio-1.16", "upstream"} {
		t.Run(dialect, func(t *testing.T) {
			o := options(t, "legacy")
			o.Dialect = dialect
			checkOpen(t, upWith(t, o))
		})
	}
}

func checkOpen(t *testing.T, l *Lab) {
	s, err := l.scene()
	if err != nil {
		t.Fatal(err)
	}
	productpage, details := s.server.Address, netip.MustParseAddr("10.4.3.15")
	for _, try := range []struct {
		what, identity string
		pod            netip.Addr
		target         string
	}{
		{"a tunnel to one pod that leads to another", callerIdentity, productpage, "10.4.3.15:9080"},
		{"a tunnel without a certificate", "", details, "10.4.3.15:9080"},
	} {
		if status, err := l.Connect(t.Context(), outsideHost, try.identity, try.pod, netip.MustParseAddrPort(try.target)); status != 200 {
			t.Errorf("%s: status %d, %v", try.what, status, err)
		}
	}

	// A manifest that has no effect can't be waited for; the folder is read as a
	// whole, so one that is in force tells of the other.
	if _, err := s.apply(t.Context(), strictFile, strictMTLS, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.apply(t.Context(), policyFile, portsPolicy, portsInForce); err != nil {
		t.Fatal(err)
	}
	if call, err := l.Call(t.Context(), outsideHost, "http://10.4.3.15:9080/"); err != nil || call.Status != 200 {
		t.Errorf("a plain connection under STRICT: %+v, %v", call, err)
	}
	r := refusal{
		title: "a policy on ports", from: callerHost, to: netip.AddrPortFrom(productpage, 9080), server: s.server.Host,
		local: netip.AddrPortFrom(productpage, hbonePort), place: placeTunnel, policy: "none", counter: countConnection,
	}
	if f, err := r.finding(t.Context(), s); err != nil || !f.OK {
		t.Errorf("a policy on port 9080 does not see 15008 on a tunnel: %v\n%s", err, strings.Join(f.Details, "\n"))
	}
}

// Nodes change their profile in place: what is captured stays so, and calls pass
// before and after.
func TestProfilesChangeInPlace(t *testing.T) {
	l := up(t, "nft")
	mustCall(t, l)
	article := map[string]map[string]string{}
	for _, profile := range []string{"hardened", "article"} {
		l.Profile = profile
		for i := range l.Net.Topology.Nodes {
			node := &l.Net.Topology.Nodes[i]
			if profile == "hardened" {
				article[node.Host] = nodeDump(t, l, node.Host)
			}
			kill9(t, l, node.Host, nodeDaemon)
			if err := l.StartNode(t.Context(), node); err != nil {
				t.Fatal(err)
			}
			save := output(t, l, node.Host, "iptables-save", "-t", "mangle")
			if rule := l.rule("-A ztunnel-OUTPUT -s " + node.Gateway.String() + "/32 -j MARK --set-xmark 0x220/0xffffffff"); !strings.Contains(save, rule+"\n") {
				t.Errorf("%s as %s has no rule %s:\n%s", node.Host, profile, rule, save)
			}
			mustCall(t, l)
		}
	}
	for _, node := range l.Net.Topology.Nodes {
		compareDumps(t, article[node.Host], nodeDump(t, l, node.Host))
	}
}

func TestFormsThatAreNone(t *testing.T) {
	_, err := Options{Profile: "hard", Dialect: "envoy"}.Defaults()
	for _, want := range []string{`profile "hard"`, `dialect "envoy"`, "hardened", "upstream"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %s", err, want)
		}
	}
}
