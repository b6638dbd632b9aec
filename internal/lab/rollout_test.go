// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/topology"
)

// One ztunnel of a node takes over from another, 20 times, while connections come
// and stay: none is lost, whichever way it takes, and when the last of the old ones
// is gone the node is what it was.
func TestZtunnelsTakeOver(t *testing.T) {
	for _, iptables := range []string{"nft", "legacy"} {
		t.Run(iptables, func(t *testing.T) {
			l := up(t, iptables)
			takeOver(t, l)
		})
	}
}

func takeOver(t *testing.T, l *Lab) {
	for _, host := range []string{"details", "outside-b", "httpbin"} {
		echoes(t, l, host)
	}
	old, _ := l.Net.Topology.Pod("ztunnel-a")
	pods := []topology.Pod{*old, addZtunnel(t, l, 2)}
	before := nodeDump(t, l, "node-a")

	ways := rolloutWays()
	tallies := make([]tally, len(ways))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var knocks sync.WaitGroup
	for i, w := range ways {
		knocks.Go(func() { knock(ctx, l, w, &tallies[i]) })
	}
	var stays []*stay
	switches := 20
	for n := range switches {
		for _, w := range ways {
			stays = append(stays, keep(t, l, w))
		}
		next := pods[(n+1)%2]
		setZtunnels(t, l, pods, map[string]bool{next.Host: true})
		eventually(t, "the tunnels lead to "+next.Host, func() error { return activeIs(t, l, next) })
		for _, s := range stays {
			if s.dead == nil && s.ping() != nil {
				t.Errorf("switch %d: %s: %v", n, s.way, s.dead)
			}
		}
	}
	stop()
	knocks.Wait()
	for i, w := range ways {
		t.Logf("%-36s %s", w.name, tallies[i].String())
		if tallies[i].failed.Load() > 0 {
			t.Errorf("%s: connections were lost", w.name)
		}
	}
	t.Logf("%d connections stayed over up to %d switches", len(stays), switches)

	// The other one goes: only the article's rules are left.
	setZtunnels(t, l, pods[:1], map[string]bool{pods[0].Host: true})
	eventually(t, "the node is as before", func() error {
		for command, was := range before {
			if now := nodeDump(t, l, "node-a")[command]; now != was {
				return fmt.Errorf("%s prints\n%s\nand not\n%s", command, now, was)
			}
		}
		return nil
	})
}

// drainTime is how long an old ztunnel of the roll-out serves on.
const drainTime = 6 * time.Second

// A roll-out, as a DaemonSet makes it: the new pod is ready, the old one is told to end
// at once, serves what it has until its drain time is over, and goes. Nobody loses a
// new connection; those that were open on the old one end with it, and all others go
// on. Afterwards the node is as it was.
func TestRollout(t *testing.T) {
	o := options(t, "nft")
	o.Drain = drainTime
	l := upWith(t, o)
	for _, host := range []string{"details", "outside-b", "httpbin"} {
		echoes(t, l, host)
	}
	first, _ := l.Net.Topology.Pod("ztunnel-a")
	old := *first
	before := nodeDump(t, l, "node-a")

	ways := rolloutWays()
	tallies := make([]tally, len(ways))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var knocks sync.WaitGroup
	for i, w := range ways {
		knocks.Go(func() { knock(ctx, l, w, &tallies[i]) })
	}
	var stays []*stay
	for _, w := range ways {
		stays = append(stays, keep(t, l, w))
	}
	next := addZtunnel(t, l, 2)
	setZtunnels(t, l, []topology.Pod{old, next}, map[string]bool{old.Host: true, next.Host: true})
	told := time.Now()
	pid := pidOf(t, l, old.Host, ztunnelDaemon)
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the tunnels lead to the new ztunnel", func() error { return activeIs(t, l, next) })
	node := output(t, l, "node-a", "conntrack", "-L", "-p", "tcp", "--mark", "0x400/0xc00")
	t.Logf("connections of the old ztunnel:\n%s", node)
	for time.Since(told) < drainTime-time.Second {
		for _, s := range stays {
			if s.dead == nil && s.ping() != nil {
				t.Errorf("%v after SIGTERM: %s: %v", time.Since(told), s.way, s.dead)
			}
		}
	}
	eventually(t, "the old ztunnel has ended", func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return errors.New("it runs")
		}
		return nil
	})
	t.Logf("the old ztunnel ended after %v", time.Since(told).Round(time.Millisecond))
	lost := 0
	for _, s := range stays {
		start := time.Now()
		if s.ping() == nil {
			continue
		}
		lost++
		if took := time.Since(start); took > time.Second || s.way == "not captured" {
			t.Errorf("%s: lost after %v: %v", s.way, took, s.dead)
		}
	}
	t.Logf("%d of %d connections that stayed open ended with the old ztunnel", lost, len(stays))
	// The node's log has the count.
	if err := contains(l.Net.LogFile("node-a", nodeDaemon), "another ztunnel took over", "before=10.4.4.18", "connections="); err != nil {
		t.Error(err)
	}
	setZtunnels(t, l, []topology.Pod{next}, map[string]bool{next.Host: true})
	eventually(t, "nothing speaks of the old ztunnel", func() error {
		return isAs(nodeDump(t, l, "node-a"), before, old, next)
	})
	stop()
	knocks.Wait()
	for i, w := range ways {
		t.Logf("%-36s %s", w.name, tallies[i].String())
		if tallies[i].failed.Load() > 0 {
			t.Errorf("%s: connections were lost", w.name)
		}
	}
}

// A ztunnel that drains is gone from one moment to the next, link and all, before the
// mesh knows: whoever had a connection through it is told so at once, and nobody else
// notices.
func TestDrainingZtunnelVanishes(t *testing.T) {
	l := up(t, "nft")
	for _, host := range []string{"details", "outside-b", "httpbin"} {
		echoes(t, l, host)
	}
	first, _ := l.Net.Topology.Pod("ztunnel-a")
	old, next := *first, addZtunnel(t, l, 2)
	var stays []*stay
	for _, w := range rolloutWays() {
		stays = append(stays, keep(t, l, w))
	}
	setZtunnels(t, l, []topology.Pod{old, next}, map[string]bool{next.Host: true})
	eventually(t, "the tunnels lead to the new ztunnel", func() error { return activeIs(t, l, next) })
	for _, w := range rolloutWays() {
		stays = append(stays, keep(t, l, w))
	}
	output(t, l, "node-a", "ip", "link", "del", old.Veth)
	for i, s := range stays {
		throughOld := i < len(stays)/2 && s.way != "not captured"
		start := time.Now()
		err := s.ping()
		took := time.Since(start)
		switch {
		case s.way == "in through a tunnel":
			// The other node's ztunnel may use a tunnel of before for a new connection.
		case !throughOld && err != nil:
			t.Errorf("%s: %v", s.way, err)
		case throughOld && (err == nil || took > time.Second):
			t.Errorf("%s: %v after %v", s.way, err, took)
		}
		if throughOld {
			t.Logf("%s: %v after %v", s.way, err, took.Round(time.Millisecond))
		}
	}
	eventually(t, "nothing speaks of it", func() error {
		if rules := output(t, l, "node-a", "iptables-nft-save", "-t", "mangle"); strings.Contains(rules, old.Veth) {
			return errors.New(rules)
		}
		return nil
	})
}

// isAs compares the rules, ip rules and tables of a node with what they were for
// another ztunnel.
func isAs(now, before map[string]string, old, next topology.Pod) error {
	for _, command := range []string{"iptables-nft-save", "iptables-legacy-save", "ip rule", "ipset list"} {
		was := strings.NewReplacer(old.Address.String()+"/", next.Address.String()+"/", old.Veth, next.Veth).Replace(before[command])
		if now[command] != was {
			return fmt.Errorf("%s prints\n%s\nand not\n%s", command, now[command], was)
		}
	}
	for _, sign := range []string{"table 103", "table 104", "table 105"} {
		if strings.Contains(now["ip route show table all"], sign) {
			return fmt.Errorf("there are routes in %s", sign)
		}
	}
	return nil
}
