// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// Somebody uses nft in a table of iptables: iptables-restore still writes into
// it, and iptables-save does not print it any more.

func TestPreflightNamesATableThatIptablesCannotRead(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	netnstest.Input(t, "nft -f -", "add rule ip mangle OUTPUT ct state vmap { invalid : drop }")
	wantProblem(t, preflight(t, newNode(t, noderoute.NFT), c), "nft list table ip mangle", "another name")
}

// A base chain of somebody's own in such a table does no harm, and stays.
func TestForeignBaseChainInATableOfIptables(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	netnstest.Input(t, "nft -f -", "add chain ip mangle mine { type filter hook forward priority -100 ; }")
	before := dump(t)
	n := newNode(t, noderoute.NFT)
	if problems := preflight(t, n, c); len(problems) > 0 {
		t.Errorf("problems:\n%s", lines(problems))
	}
	apply(t, n, c)
	if again := apply(t, n, c); again.Writes() != 0 {
		t.Errorf("not settled: %+v", again)
	}
	if _, err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, dump(t))
}

func TestATableThatIptablesCannotReadAnyMore(t *testing.T) {
	netnstest.Enter(t)
	c, dir := nodeA(t), t.TempDir()
	buildNode(t, c, noderoute.NFT)
	before := dump(t)
	apply(t, another(t, noderoute.NFT, dir), c)
	netnstest.Input(t, "nft -f -", "add rule ip mangle OUTPUT ct state vmap { invalid : drop }")
	after := dump(t)

	n := another(t, noderoute.NFT, dir)
	r, err := n.Apply(context.Background(), c)
	var obstacle *noderoute.ObstacleError
	if !errors.As(err, &obstacle) || !strings.Contains(err.Error(), "nft list table ip mangle") || r.Writes() != 0 {
		t.Errorf("Apply: %v, %+v", err, r)
	}
	wantSame(t, after, dump(t))

	if _, err := n.Cleanup(context.Background()); !errors.As(err, &obstacle) {
		t.Errorf("Cleanup: %v", err)
	}
	if out := dump(t); strings.Contains(out, "fwmark") || strings.Contains(out, `comment "b1"`) {
		t.Errorf("pods are still captured:\n%s", out)
	}
	netnstest.Run(t, "nft flush chain ip mangle OUTPUT") // takes our jump and others' rule along
	netnstest.Run(t, "iptables-nft -t mangle -A OUTPUT -s 169.254.169.254/32 -j DROP")
	if _, err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, dump(t))
}
