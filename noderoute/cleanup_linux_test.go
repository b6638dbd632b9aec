// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// A first install that fails halfway leaves nothing behind.
func TestFailedInstallIsUndone(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		before := dump(t)
		spoilRestore(t, "match-set")
		n := newNode(t, v)
		r, err := n.Apply(context.Background(), c)
		if err == nil || !strings.Contains(err.Error(), "No chain/target/match") {
			t.Fatalf("Apply: %v", err)
		}
		if len(r.Changes) == 0 {
			t.Error("the result does not say what was reached")
		}
		wantSame(t, before, dump(t))
	})
}

// A state file that is lost, damaged, or from elsewhere.
func TestStateFile(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	dir := t.TempDir()
	path := filepath.Join(dir, "state", "host.json")
	n, err := noderoute.New(noderoute.Options{StateDir: filepath.Dir(path)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	apply(t, n, c)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("state file: %v, %v", info, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left in the state directory: %v", files)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"version": 1, "sysc`)
	if _, err := n.Apply(context.Background(), c); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("with a damaged file: %v", err)
	}
	write(strings.Replace(string(text), `"version": 1`, `"version": 2`, 1))
	if _, err := n.Apply(context.Background(), c); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("with a file of the future: %v", err)
	}
	// Of another boot: history, and nothing of it is put back.
	write(strings.Replace(string(text), `"original": "1"`, `"original": "7"`, -1))
	other := strings.Replace(string(text), `"bootID": "`, `"bootID": "x`, 1)
	write(other)
	if _, err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(netnstest.Run(t, "sysctl -n net.ipv4.conf.all.rp_filter")); got != "0" {
		t.Errorf("another boot's value was put back: %s", got)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the state file after cleaning up: %v", err)
	}
}

// Cleaning up without a state file still takes everything of ours away.
func TestCleanupOfAnInstallNobodyRemembers(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		apply(t, newNode(t, v), c)
		netnstest.Run(t, "ip link del istioin")          // partial
		netnstest.Run(t, "ip rule del priority 102")     // partial
		netnstest.Run(t, "ip route flush table 100")     // partial
		other, err := noderoute.New(noderoute.Options{}) // and the variant is unknown
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		r, err := other.Cleanup(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "no state file") {
			t.Errorf("warnings: %q", r.Warnings)
		}
		out := dump(t)
		for _, name := range []string{"ztunnel-", "istio", "fwmark", "table 101", "table 102"} {
			if strings.Contains(out, name) {
				t.Errorf("%q is left in\n%s", name, out)
			}
		}
		if !strings.Contains(out, "KUBE-SERVICES") || !strings.Contains(out, "169.254.169.254") {
			t.Errorf("others' rules are gone:\n%s", out)
		}
	})
}

// Somebody puts rules into tables and chains that came with ours, and sets a
// sysctl of his own: they stay.
func TestCleanupSparesWhatCameMeanwhile(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	netnstest.Run(t, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
	netnstest.Run(t, "sysctl -qw net.ipv4.ip_forward=1")
	netnstest.Run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=1")
	netnstest.Run(t, "ip addr add 10.4.4.1/32 dev lo")
	addPod(t, c.ZtunnelIP)
	c.Pods = nil
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	netnstest.Run(t, "iptables-nft -t mangle -A FORWARD -p icmp -j ACCEPT")
	netnstest.Run(t, "iptables-nft -t mangle -P INPUT DROP")
	netnstest.Input(t, "nft -f -", "add chain ip mangle mine { type filter hook forward priority -100 ; }")
	netnstest.Run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=2")
	if _, err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	out := netnstest.Run(t, "nft list ruleset")
	for _, theirs := range []string{"icmp", "chain mine", "policy drop"} {
		if !strings.Contains(out, theirs) {
			t.Errorf("%s is gone", theirs)
		}
	}
	if strings.Contains(out, "table ip nat") || strings.Contains(out, "PREROUTING") {
		t.Errorf("nftables after cleaning up:\n%s", out)
	}
	if got := strings.TrimSpace(netnstest.Run(t, "sysctl -n net.ipv4.conf.all.rp_filter")); got != "2" {
		t.Errorf("somebody else's rp_filter=2 became %s", got)
	}
}

// On a node without any rules, nothing is left in nftables either.
func TestCleanupOfAnEmptyNode(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	netnstest.Run(t, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
	netnstest.Run(t, "ip addr add 10.4.4.1/32 dev lo")
	addPod(t, c.ZtunnelIP)
	c.Pods = nil
	before := dump(t)
	n, err := noderoute.New(noderoute.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	apply(t, n, c)
	if _, err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, dump(t))
}
