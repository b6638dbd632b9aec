// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// hear puts what an agent tells among the calls that it makes.
func (r *running) hear() { r.hears.Store(true) }

// outcome takes what the agent tells.
func (r *recorder) outcome(c *mesh.Capture) {
	if r.hears.Load() {
		r.calls <- "tell " + told(c)
	}
}

func told(c *mesh.Capture) string {
	all := slices.Sorted(maps.Keys(c.Pods))
	for _, uid := range slices.Sorted(maps.Keys(c.Refused)) {
		all = append(all, "not "+uid+": "+c.Refused[uid])
	}
	if c.Err != "" {
		all = append(all, "error: "+c.Err)
	}
	return strings.Join(all, ", ")
}

func TestTellsWhatTheNodeDidAfterIt(t *testing.T) {
	r := start(t, nil)
	r.hear()
	r.leftOut = netip.MustParseAddr("10.4.4.20")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
	r.want("serve 3 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19 10.4.4.20]",
		"tell pod-10.4.4.19, not pod-10.4.4.20: "+noderoute.ErrNoRoute.Error())
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("add [] remove [10.4.4.20]", "serve 2 secrets", "tell pod-10.4.4.19")
	r.snapshot <- snapshot("", "10.4.4.19")
	r.want("forget", "clean up", "tell ")
}

// A comparison that finds nothing new is not told.
func TestTellsNewsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.hear()
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]", "tell pod-10.4.4.19")
		r.want("apply 10.4.4.18 with [10.4.4.19]") // the hourly one
		r.changed <- noderoute.Set
		r.want("repair set with [10.4.4.19]")
		letPass(time.Minute)
		if len(r.calls) > 0 {
			t.Errorf("called %q", <-r.calls)
		}
		r.stop()
		<-r.done
	})
}

// A release is told when it is done, though the push that comes with it waits.
func TestTellsOfAReleaseAtOnce(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		synctest.Wait() // the first snapshot has been told
		r.hear()
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.20")
		r.wantAfter(testDelay, "add [] remove [10.4.4.19]", "tell ")
		r.wantAfter(testInterval-testDelay, "serve 2 secrets", "add [10.4.4.20] remove []", "tell pod-10.4.4.20")
	})
}

// What was captured counts as captured through one failure, which may have its end
// with the next attempt, and not through two.
func TestTellsOfFailures(t *testing.T) {
	var failing atomic.Bool
	refuse := func(call string) error {
		if failing.Load() && strings.HasPrefix(call, "apply") {
			return errors.New("no")
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, refuse)
		r.hear()
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]", "tell pod-10.4.4.19")
		failing.Store(true)
		r.snapshot <- snapshot("10.4.4.28", "10.4.4.19", "10.4.4.20")
		r.want("serve 3 secrets", "apply 10.4.4.28 with [10.4.4.19 10.4.4.20]", "tell pod-10.4.4.19")
		r.want("preflight", "apply 10.4.4.28 with [10.4.4.19 10.4.4.20]", "tell error: programming the node: no")
		failing.Store(false)
		r.want("preflight", "apply 10.4.4.28 with [10.4.4.19 10.4.4.20]", "tell pod-10.4.4.19, pod-10.4.4.20")
		r.stop()
		<-r.done
	})
}

// Resources that the server refuses keep new pods out, and nobody in.
func TestTellsOfRefusedResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(call string) error {
			if call == "serve 2 secrets" {
				return errors.New("no")
			}
			return nil
		})
		r.hear()
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.want("serve 3 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19 10.4.4.20]", "tell pod-10.4.4.19, pod-10.4.4.20")
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.20")
		r.want("add [] remove [10.4.4.19]", "serve 2 secrets", "tell pod-10.4.4.20")
		r.want("serve 2 secrets", "tell pod-10.4.4.20, error: serving the ztunnel's resources: no")
		r.stop()
		<-r.done
	})
}

// What is told is in the kernel already.
func TestTheKernelHasWhatIsTold(t *testing.T) {
	g := guard(t, noderoute.NFT)
	other := netip.MustParseAddr("10.4.4.20")
	hang(t, other.String(), "veth20")
	for round := range 5 {
		g.snapshot <- snapshot(guardedZtunnel, guardedPod, other.String())
		for c := range g.captures {
			if ip, captured := c.Pods["pod-"+other.String()]; !captured {
				continue
			} else if ip != other {
				t.Fatalf("captured at %s", ip)
			}
			break
		}
		if left := g.member(other); left != "" {
			t.Fatalf("round %d: told before it was so: %s", round, left)
		}
		g.snapshot <- snapshot(guardedZtunnel, guardedPod)
		for c := range g.captures {
			if _, captured := c.Pods["pod-"+other.String()]; !captured {
				break
			}
		}
		if left := g.member(other); left == "" {
			t.Fatalf("round %d: let go before it was so", round)
		}
	}
}

// member is what an address lacks to be captured, "" where it is.
func (g *guarded) member(ip netip.Addr) (lacks string) {
	g.t.Helper()
	if out, err := netnstest.Try(fmt.Sprintf("ipset test ztunnel-pods-ips %s", ip)); err != nil {
		return out
	}
	out, err := netnstest.Try("ip route show table 100 " + ip.String())
	if err != nil || !strings.Contains(out, ip.String()) {
		return "no route in table 100: " + out
	}
	return ""
}
