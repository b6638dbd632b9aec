// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// releases counts the pods' routes that were taken out of table 100 since it was
// asked last. The kernel announces each: nobody is released unseen, however soon
// the route is back.
func releases(t *testing.T) func() int {
	t.Helper()
	conn, err := nlbatch.Listen(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() int {
		n := 0
		err := conn.Events(func(m nlbatch.Message) {
			if m.Type == unix.RTM_DELROUTE && m.Data[4] == noderoute.TableInbound {
				n++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// The rules of a programmed node are damaged while nobody looks after it. Whoever
// comes then keeps every pod enrolled, all the time: what our own rules and tables
// answer is never taken for the way to a pod.
func TestDamagedRulesReleaseNobody(t *testing.T) {
	const (
		skip        = "ip rule add 100:\tfrom all fwmark 0x200/0x200 goto 32766"
		outbound    = "ip rule add 101:\tfrom all fwmark 0x100/0x100 lookup 101"
		proxyReturn = "ip rule add 102:\tfrom all fwmark 0x40/0x40 lookup 102"
		inbound     = "ip rule add 103:\tfrom all lookup 100"
	)
	delSkip := "ip rule del priority 100"
	// Rules and routes of somebody else's, for all addresses of pods.
	elsewhere := []string{
		"ip link add elsewhere up type veth peer name elsewherep", "ip link set elsewherep up",
		"ip route add 10.4.0.0/16 dev elsewhere table 77",
	}
	cases := []struct {
		name     string
		damage   []string
		want     []string // changes
		obstacle string
	}{
		{"skip rule deleted", []string{delSkip}, []string{skip}, ""},
		{"outbound rule deleted", []string{"ip rule del priority 101"}, []string{outbound}, ""},
		{"proxy's rule deleted", []string{"ip rule del priority 102"}, []string{proxyReturn}, ""},
		{"inbound rule deleted", []string{"ip rule del priority 103"}, []string{inbound}, ""},
		{"all deleted", []string{delSkip, "ip rule del priority 101", "ip rule del priority 102", "ip rule del priority 103"},
			[]string{skip, outbound, proxyReturn, inbound}, ""},
		{"skip rule too late", []string{delSkip, "ip rule add priority 150 fwmark 0x200/0x200 goto 32766"}, []string{skip}, ""},
		{"inbound rule too early", []string{"ip rule del priority 103", "ip rule add priority 50 lookup 100"}, []string{inbound}, ""},
		{"skip rule's mask", []string{delSkip, "ip rule add priority 100 fwmark 0x200/0xfff goto 32766"}, nil, "priority 100"},
		{"skip rule's mark", []string{delSkip, "ip rule add priority 100 fwmark 0x8/0x8 goto 32766"}, nil, "priority 100"},
		{"skip rule's aim", []string{delSkip, "ip rule add priority 100 fwmark 0x200/0x200 goto 32767"}, nil, "priority 100"},
		{"main table's rule moved", []string{"ip rule del priority 32766", "ip rule add priority 32000 lookup main"}, nil, ""},
		{"skip rule deleted, somebody's table behind ours",
			append(slices.Clone(elsewhere), "ip rule add priority 200 lookup 77", delSkip), []string{skip}, ""},
		{"skip and inbound rule deleted, somebody's table behind ours",
			append(slices.Clone(elsewhere), "ip rule add priority 200 lookup 77", delSkip, "ip rule del priority 103"), []string{skip, inbound}, ""},
		{"skip and inbound rule deleted, somebody's table before ours for others",
			append(slices.Clone(elsewhere), "ip rule add priority 50 from 10.9.9.9 lookup 77", "ip rule add priority 51 iif elsewhere lookup 77",
				"ip rule add priority 52 fwmark 0x8/0x8 lookup 77", "ip rule add priority 200 lookup 77", delSkip, "ip rule del priority 103"),
			[]string{skip, inbound}, ""},
		{"skip and inbound rule deleted, somebody forbids behind ours",
			[]string{"ip rule add priority 200 to 10.4.0.0/16 prohibit", delSkip, "ip rule del priority 103"}, []string{skip, inbound}, ""},
		{"skip rule deleted, a plugin's rules per pod", // as AWS's plugin makes them
			[]string{"ip rule add priority 512 to 10.4.4.19 lookup main", "ip rule add priority 1536 from 10.4.4.19 lookup 2", delSkip}, []string{skip}, ""},
		{"skip rule deleted, somebody's table with the pods' own routes first", []string{
			"ip route add 10.4.4.19 dev veth040413 table 77", "ip rule add priority 50 lookup 77", delSkip,
		}, []string{skip}, ""},
		{"skip rule deleted, several routes to a pod", []string{
			"ip link add elsewhere up type veth peer name elsewherep", "ip link set elsewherep up",
			"ip route add 10.4.4.19 via 10.4.4.7 dev veth040407 onlink metric 50", "ip route add 10.4.4.0/24 dev elsewhere",
			"ip route add blackhole 10.4.4.19 metric 60", delSkip,
		}, []string{skip}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			forVariants(t, func(t *testing.T, v noderoute.Variant) {
				if v == noderoute.Legacy && c.name != "skip rule deleted" {
					return // what is read of routes does not depend on it
				}
				config := nodeA(t)
				buildNode(t, config, v)
				apply(t, newNode(t, v), config)
				for _, line := range c.damage {
					netnstest.Run(t, line)
				}
				n, released := newNode(t, v), releases(t)
				p, err := n.Plan(context.Background(), config)
				if err != nil || len(p.Refused) > 0 {
					t.Errorf("the plan refuses %v, %v", p.Refused, err)
				}
				problems, err := n.Preflight(context.Background(), config)
				if err != nil || strings.Contains(fmt.Sprint(problems), "pod") {
					t.Errorf("preflight: %v, %v", problems, err)
				}
				// Each pod that a change is about, too, is looked up anew.
				if r, err := n.UpdatePods(context.Background(), config, config.Pods, nil); err != nil || len(r.Refused) > 0 {
					t.Errorf("updating: %v, %v", r.Refused, err)
				}
				r, err := n.Apply(context.Background(), config)
				var obstacle *noderoute.ObstacleError
				if c.obstacle != "" && (!errors.As(err, &obstacle) || !strings.Contains(err.Error(), c.obstacle)) || c.obstacle == "" && err != nil {
					t.Errorf("applying: %v", err)
				}
				if diff := cmp.Diff(c.want, r.Changes); diff != "" {
					t.Errorf("changes differ (-want +got):\n%s", diff)
				}
				if n := released(); n > 0 || len(r.Refused) > 0 {
					t.Errorf("%d routes into the tunnel were taken away; refused are %v", n, r.Refused)
				}
			})
		})
	}
}

// The same while the controller runs: Repair is for events, UpdatePods for pods.
func TestRepairOfTheSkipRuleReleasesNobody(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		apply(t, n, c)
		good, released := dump(t), releases(t)
		netnstest.Run(t, "ip rule del priority 100")
		netnstest.Run(t, "ip rule del priority 102")
		netnstest.Run(t, "iptables-"+v.String()+" -t mangle -F ztunnel-PREROUTING")
		r, err := n.Repair(context.Background(), c, noderoute.Everything)
		if err != nil {
			t.Fatal(err)
		}
		// Before anything else: until then skipped packets go round in circles.
		if len(r.Changes) == 0 || !strings.HasPrefix(r.Changes[0], "ip rule add 100:") || r.Kinds[noderoute.Rules] != 2 || len(r.Changes) != 3 {
			t.Errorf("changes:\n%s", strings.Join(r.Changes, "\n"))
		}
		if n := released(); n > 0 {
			t.Errorf("%d routes into the tunnel were taken away", n)
		}
		wantSame(t, good, dump(t))
	})
}

// A route in one of our tables may be one of before: it says nothing about where
// the ztunnel is.
func TestTheWayToTheZtunnelIsNotReadFromOurTables(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	apply(t, newNode(t, noderoute.NFT), c)
	netnstest.Run(t, "ip rule del priority 100")
	netnstest.Run(t, "ip link add another up type veth peer name anotherp")
	netnstest.Run(t, "ip link set anotherp up")
	netnstest.Run(t, "ip route replace 10.4.4.18 dev another")
	n := newNode(t, noderoute.NFT)
	p, err := n.Plan(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := noderoute.Route{Table: noderoute.TableInbound, Dst: netip.MustParsePrefix("10.4.4.18/32"), Dev: "another", Scope: 253}
	if !slices.Contains(p.Routes, want) {
		t.Errorf("the routes are %v", p.Routes)
	}
}

// What others lead elsewhere before any rule of ours stays theirs, whether our own
// rules are whole or not, and so does what hangs on a bridge.
func TestOthersRulesBeforeOursCount(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		t.Run(fmt.Sprintf("damaged=%v", damaged), func(t *testing.T) {
			netnstest.Enter(t)
			c := nodeA(t)
			buildNode(t, c, noderoute.NFT)
			apply(t, newNode(t, noderoute.NFT), c)
			for _, line := range []string{
				"ip route add 10.4.4.0/24 dev veth040407 table 77", "ip rule add priority 50 to 10.4.4.19 lookup 77",
				"ip link add cni0 up type bridge", "ip route del 10.4.4.7", "ip route add 10.4.4.0/24 dev cni0",
			} {
				netnstest.Run(t, line)
			}
			if damaged {
				netnstest.Run(t, "ip rule del priority 100")
			}
			r := apply(t, newNode(t, noderoute.NFT), c)
			refused := map[netip.Addr]bool{}
			for _, e := range r.Refused {
				refused[e.Pod.IP] = errors.Is(e, noderoute.ErrNoRoute)
			}
			want := map[netip.Addr]bool{netip.MustParseAddr("10.4.4.19"): true, netip.MustParseAddr("10.4.4.7"): true}
			if diff := cmp.Diff(want, refused, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("refused differ (-want +got):\n%s", diff)
			}
			problems, err := newNode(t, noderoute.NFT).Preflight(context.Background(), c)
			if err != nil || !strings.Contains(fmt.Sprint(problems), "through the /24 network on cni0, a bridge of the bridge plugin") {
				t.Errorf("preflight: %v, %v", problems, err)
			}
		})
	}
}
