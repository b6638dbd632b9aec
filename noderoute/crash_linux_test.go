// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// another opens the same node as a process that starts anew would.
func another(t *testing.T, v noderoute.Variant, stateDir string) *noderoute.Node {
	t.Helper()
	n, err := noderoute.New(noderoute.Options{IPTables: v, StateDir: stateDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// The controller is killed after any step of an install, and a new one installs
// or cleans up: the end is the same as without the kill.
func TestKilledWhileInstalling(t *testing.T) {
	for most, all := 0, 1; most < all; most++ {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			netnstest.Enter(t)
			c, dir := nodeA(t), t.TempDir()
			buildNode(t, c, noderoute.NFT)
			before := dump(t)
			var err error
			if all, err = another(t, noderoute.Auto, dir).ApplySteps(context.Background(), c, most); err != nil {
				t.Fatal(err)
			}
			if _, err := another(t, noderoute.Auto, dir).Cleanup(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantSame(t, before, dump(t))
			if _, err := another(t, noderoute.Auto, dir).ApplySteps(context.Background(), c, most); err != nil {
				t.Fatal(err)
			}
			n := another(t, noderoute.Auto, dir)
			apply(t, n, c)
			if again := apply(t, n, c); again.Writes() != 0 {
				t.Errorf("not settled: %+v", again)
			}
			if _, err := another(t, noderoute.Auto, dir).CleanupSteps(context.Background(), most); err != nil {
				t.Fatal(err)
			}
			if _, err := another(t, noderoute.Auto, dir).Cleanup(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantSame(t, before, dump(t))
			if left, _ := os.ReadDir(filepath.Clean(dir)); len(left) != 0 {
				t.Errorf("left in the state directory: %v", left)
			}
		})
	}
}

// The same while one ztunnel takes over from another that still exists, also
// where the state file is lost and where a third one is active by then.
func TestKilledWhileSwitchingZtunnels(t *testing.T) {
	for most, all := 0, 1; most < all; most++ {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			for name, resume := range map[string]string{"same": "10.4.4.30", "third": "10.4.4.31", "back": "10.4.4.18", "clean": ""} {
				t.Run(name, func(t *testing.T) {
					netnstest.Enter(t)
					c, dir := nodeA(t), t.TempDir()
					buildNode(t, c, noderoute.NFT)
					next := c
					next.ZtunnelIP = netip.MustParseAddr("10.4.4.30")
					addPod(t, next.ZtunnelIP)
					addPod(t, netip.MustParseAddr("10.4.4.31"))
					before := dump(t)
					apply(t, another(t, noderoute.Auto, dir), c)
					var err error
					if all, err = another(t, noderoute.Auto, dir).ApplySteps(context.Background(), next, most); err != nil {
						t.Fatal(err)
					}
					n := another(t, noderoute.Auto, dir)
					if resume != "" {
						next.ZtunnelIP = netip.MustParseAddr(resume)
						apply(t, n, next)
						if again := apply(t, n, next); again.Writes() != 0 {
							t.Errorf("not settled: %+v", again)
						}
						for _, old := range []string{"10.4.4.30", "10.4.4.31", "10.4.4.18"} {
							out := dump(t)
							if old != resume && (strings.Contains(out, old+" dev "+veth(netip.MustParseAddr(old))+" table 1") ||
								strings.Contains(out, "-i "+veth(netip.MustParseAddr(old)))) {
								t.Errorf("%s is still spoken of:\n%s", old, out)
							}
						}
					}
					if _, err := n.Cleanup(context.Background()); err != nil {
						t.Fatal(err)
					}
					wantSame(t, before, dump(t))
				})
			}
		})
	}
}

// Another variant is chosen, by hand or because the state file is lost: what
// the first one holds goes.
func TestAnotherVariantTakesOver(t *testing.T) {
	for _, turn := range [][2]noderoute.Variant{{noderoute.NFT, noderoute.Legacy}, {noderoute.Legacy, noderoute.NFT}} {
		t.Run(turn[0].String()+" to "+turn[1].String(), func(t *testing.T) {
			netnstest.Enter(t)
			c, dir := nodeA(t), t.TempDir()
			buildNode(t, c, turn[0])
			netnstest.Input(t, "iptables-"+turn[1].String()+"-restore --noflush", "*mangle\nCOMMIT\n*nat\nCOMMIT\n")
			before := dump(t)
			apply(t, another(t, turn[0], dir), c)
			n := another(t, turn[1], dir)
			apply(t, n, c)
			if again := apply(t, n, c); again.Writes() != 0 {
				t.Errorf("not settled: %+v", again)
			}
			if out := netnstest.Run(t, "iptables-"+turn[0].String()+"-save"); strings.Contains(out, "ztunnel-") {
				t.Errorf("the rules of %s stay:\n%s", turn[0], out)
			}
			if _, err := n.Cleanup(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantSame(t, before, dump(t))
		})
	}
}
