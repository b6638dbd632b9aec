// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// kernelNode is a real node that tells the test what each call did, and when.
type kernelNode struct {
	*noderoute.Node
	recorder
	done chan checked
}

type checked struct {
	call  string
	kinds noderoute.Kinds
	noderoute.Result
	err error
	at  time.Time
}

func (k *kernelNode) Preflight(context.Context, noderoute.HostConfig) ([]noderoute.Problem, error) {
	return nil, nil
}

func (k *kernelNode) Apply(ctx context.Context, c noderoute.HostConfig) (noderoute.Result, error) {
	r, err := k.Node.Apply(ctx, c)
	k.done <- checked{"apply", 0, r, err, time.Now()}
	return r, err
}

func (k *kernelNode) UpdatePods(ctx context.Context, c noderoute.HostConfig, add, remove []noderoute.Pod) (noderoute.Result, error) {
	r, err := k.Node.UpdatePods(ctx, c, add, remove)
	k.done <- checked{"update", 0, r, err, time.Now()}
	return r, err
}

func (k *kernelNode) Repair(ctx context.Context, c noderoute.HostConfig, kinds noderoute.Kinds) (noderoute.Result, error) {
	r, err := k.Node.Repair(ctx, c, kinds)
	k.done <- checked{"repair", kinds, r, err, time.Now()}
	return r, err
}

func (k *kernelNode) Cleanup(ctx context.Context) (noderoute.Result, error) {
	return k.Node.Cleanup(ctx)
}

func (k *kernelNode) Watch(ctx context.Context, changed func(noderoute.Kinds)) error {
	return k.Node.Watch(ctx, changed)
}

// guarded is an agent that keeps a real node, in the test's network namespace.
type guarded struct {
	t        *testing.T
	node     *kernelNode
	agent    *Agent
	registry *prometheus.Registry
	snapshot chan *mesh.Snapshot
	captures chan *mesh.Capture // as told
	logs     *strings.Builder   // read after stop only
	stop     func()
}

const (
	guardedZtunnel = "10.4.4.18"
	guardedPod     = "10.4.4.19"
	guardedVeth    = "veth18"
	guardedPodVeth = "veth19"
)

// guard builds a node with a ztunnel and a pod, lets an agent program it, and waits
// until nothing is left to do.
func guard(t *testing.T, v noderoute.Variant) *guarded {
	t.Helper()
	netnstest.Enter(t)
	for _, line := range []string{
		"sysctl -qw net.ipv6.conf.default.disable_ipv6=1", "sysctl -qw net.ipv4.ip_forward=1", "ip addr add 10.4.4.1/32 dev lo",
	} {
		netnstest.Run(t, line)
	}
	hang(t, guardedZtunnel, guardedVeth)
	hang(t, guardedPod, guardedPodVeth)
	netnstest.Input(t, "iptables-"+v.String()+"-restore", "*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n"+
		"*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n")
	real, err := noderoute.New(noderoute.Options{IPTables: v, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { real.Close() })
	g := &guarded{
		t: t, registry: prometheus.NewRegistry(), snapshot: make(chan *mesh.Snapshot), captures: make(chan *mesh.Capture, 1000), logs: &strings.Builder{},
		node: &kernelNode{Node: real, recorder: recorder{calls: make(chan string, 1000)}, done: make(chan checked, 1000)},
	}
	g.agent = New(Config{
		NodeName: "node-a", Resync: time.Hour, Node: g.node, XDS: g.node, Tunnel: netnstest.Tunnel(t),
		Outcome: func(c *mesh.Capture) { g.captures <- c },
		Log:     slog.New(slog.NewTextHandler(g.logs, nil)), Metrics: NewMetrics(g.registry),
		Source: func(ctx context.Context, deliver func(*mesh.Snapshot, error)) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case s := <-g.snapshot:
					deliver(s, nil)
				}
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.agent.Run(ctx) }()
	g.stop = func() {
		cancel()
		if err, ok := <-ended; ok && err != nil {
			t.Error(err)
		}
		close(ended)
	}
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	g.snapshot <- snapshot(guardedZtunnel, guardedPod)
	g.until("apply", func(c checked) bool { return c.call == "apply" })
	// What the install did to the set, and to rules where the kernel tells of them,
	// is looked at once more. After that nothing happens by itself.
	g.until("a look at the set", func(c checked) bool { return c.kinds&noderoute.Set != 0 })
	return g
}

// hang adds a pod's veth and route as a CNI plugin does.
func hang(t *testing.T, ip, veth string) {
	t.Helper()
	netnstest.Run(t, fmt.Sprintf("ip link add %s up type veth peer name %sp", veth, veth))
	netnstest.Run(t, fmt.Sprintf("ip link set %sp up", veth))
	netnstest.Run(t, fmt.Sprintf("ip route add %s dev %s", ip, veth))
	netnstest.Settle(t)
}

// until reads what the agent did until something fits, and returns what did not.
func (g *guarded) until(what string, fits func(checked) bool) (before []checked, found checked) {
	g.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case c := <-g.node.done:
			if c.err != nil {
				g.t.Fatalf("waiting for %s: %s: %v", what, c.call, c.err)
			}
			if fits(c) {
				return before, c
			}
			before = append(before, c)
		case <-limit:
			g.t.Fatalf("waiting for %s: it did not come", what)
		}
	}
}

// settled waits until a look from outside finds nothing to do: damage in several
// steps may be repaired in as many.
func (g *guarded) settled() {
	g.t.Helper()
	look, err := noderoute.New(noderoute.Options{IPTables: noderoute.Auto})
	if err != nil {
		g.t.Fatal(err)
	}
	defer look.Close()
	config := noderoute.HostConfig{
		ZtunnelIP: netip.MustParseAddr(guardedZtunnel), HostIP: netip.MustParseAddr("10.4.4.1"), Tunnel: g.agent.Tunnel,
		Pods: []noderoute.Pod{{UID: "pod-" + guardedPod, IP: netip.MustParseAddr(guardedPod)}},
	}
	var changes noderoute.Changes
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if changes, err = look.Diff(g.t.Context(), config); err == nil && changes.Empty() {
			return
		}
	}
	g.t.Errorf("still to do: %v, %v", changes.Lines(), err)
}

// damages are what people and other programs do to a node, with the kind that is
// counted first.
func damages() []damage {
	list := []damage{
		{"chain flushed", []string{"IPTABLES -t mangle -F ztunnel-PREROUTING"}, noderoute.Chains},
		{"rule replaced by one as long", []string{"IPTABLES -t mangle -R ztunnel-FORWARD 1 -m mark --mark 0x230/0x230 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220"}, noderoute.Chains},
		{"jump deleted", []string{"IPTABLES -t mangle -D PREROUTING -j ztunnel-PREROUTING"}, noderoute.Chains},
		{"table flushed", []string{"IPTABLES -t mangle -F"}, noderoute.Chains},
		{"other table flushed", []string{"IPTABLES -t nat -F"}, noderoute.Chains},
		{"somebody came first", []string{"IPTABLES -t nat -I PREROUTING -j RETURN"}, noderoute.Chains},
		{"set flushed", []string{"ipset flush ztunnel-pods-ips"}, noderoute.Set},
		{"member deleted", []string{"ipset del ztunnel-pods-ips " + guardedPod}, noderoute.Set},
		{"istioin deleted", []string{"ip link del istioin"}, noderoute.Links},
		{"istioout deleted", []string{"ip link del istioout"}, noderoute.Links},
		{"istioout down", []string{"ip link set istioout down"}, noderoute.Links},
		{"tunnel address deleted", []string{"ip addr flush dev istioout"}, noderoute.Links},
		{"rp_filter of a tunnel", []string{"sysctl -qw net.ipv4.conf.istioin.rp_filter=1"}, noderoute.Sysctls},
		{"rp_filter of a pod", []string{"sysctl -qw net.ipv4.conf." + guardedPodVeth + ".rp_filter=2"}, noderoute.Sysctls},
		{"rp_filter of all", []string{"sysctl -qw net.ipv4.conf.all.rp_filter=1"}, noderoute.Sysctls},
		{"accept_local of the ztunnel's veth", []string{"sysctl -qw net.ipv4.conf." + guardedVeth + ".accept_local=0"}, noderoute.Sysctls},
	}
	for priority := 100; priority <= 103; priority++ {
		list = append(list, damage{fmt.Sprintf("ip rule %d deleted", priority), []string{fmt.Sprintf("ip rule del priority %d", priority)}, noderoute.Rules})
	}
	for table := 100; table <= 102; table++ {
		list = append(list, damage{fmt.Sprintf("routes of table %d flushed", table), []string{fmt.Sprintf("ip route flush table %d", table)}, noderoute.Routes})
	}
	return list
}

type damage struct {
	name  string
	lines []string
	kind  noderoute.Kinds
}

// Whatever is damaged is back within a second, and counted by its kind. The time is
// taken from before the damaging program starts.
func TestDamageIsRepairedAtOnce(t *testing.T) {
	for _, v := range []noderoute.Variant{noderoute.NFT, noderoute.Legacy} {
		for _, d := range damages() {
			if v == noderoute.Legacy && d.kind != noderoute.Chains {
				continue // not a matter of the variant
			}
			t.Run(v.String()+"/"+d.name, func(t *testing.T) {
				g := guard(t, v)
				start := time.Now()
				g.run(v, d.lines)
				program := time.Since(start)
				_, c := g.until(d.name, func(c checked) bool { return c.Kinds[d.kind] > 0 })
				took := c.at.Sub(start)
				t.Logf("%-6s %-34s back after %6.1f ms, of which the damaging program %5.1f ms", v, d.name, millis(took), millis(program))
				if took > time.Second {
					t.Errorf("took %v", took)
				}
				if d.kind == noderoute.Rules && len(c.Changes) != 1 {
					t.Errorf("for one rule, this was changed: %q", c.Changes)
				}
				g.settled()
				g.stop()
				if g.drift(d.kind) == 0 {
					t.Errorf("not counted as %s", d.kind)
				}
			})
		}
	}
}

// run runs programs one after another.
func (g *guarded) run(v noderoute.Variant, lines []string) {
	g.t.Helper()
	for _, line := range lines {
		netnstest.Run(g.t, strings.ReplaceAll(line, "IPTABLES", "iptables-"+v.String()))
	}
}

func (g *guarded) drift(kind noderoute.Kinds) float64 {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "ambient_node_drift_total" && m.GetLabel()[0].GetValue() == kind.String() {
				return m.GetCounter().GetValue()
			}
		}
	}
	g.t.Fatalf("no drift of kind %s", kind)
	return 0
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// What others do with their own things is not even written to the log, and nothing
// is written to the kernel.
func TestOthersThingsAreLeftAlone(t *testing.T) {
	for _, v := range []noderoute.Variant{noderoute.NFT, noderoute.Legacy} {
		t.Run(v.String(), func(t *testing.T) {
			g := guard(t, v)
			g.run(v, []string{
				"ip link add foreign type veth peer name foreignp", "ip link set foreign up", "ip addr add 10.9.9.1/24 dev foreign",
				"ip route add 10.77.0.0/16 dev foreign", "ip route add 10.78.0.1 dev foreign table 77", "ip rule add priority 77 from 10.78.0.0/16 lookup 77",
				"sysctl -qw net.ipv4.conf.foreign.rp_filter=1", "sysctl -qw net.ipv4.conf.foreign.accept_local=1",
				"IPTABLES -t nat -N KUBE-SVC", "IPTABLES -t nat -A KUBE-SERVICES -d 10.8.0.1 -j KUBE-SVC",
				"IPTABLES -t nat -A POSTROUTING -d 10.8.0.1 -j RETURN", "IPTABLES -t filter -A FORWARD -j DROP",
				"ipset create foreign hash:ip", "ipset add foreign 10.8.0.1", "ip link del foreign",
			})
			// Events come in order: once these three are repaired, those before were seen.
			for _, d := range []damage{
				{"rule", []string{"ip rule del priority 101"}, noderoute.Rules},
				{"chain", []string{"IPTABLES -t nat -F ztunnel-PREROUTING"}, noderoute.Chains},
				{"set", []string{"ipset flush ztunnel-pods-ips"}, noderoute.Set},
			} {
				g.run(v, d.lines)
				before, c := g.until(d.name, func(c checked) bool { return c.Kinds[d.kind] > 0 })
				for _, b := range before {
					if b.Writes() > 0 {
						t.Errorf("somebody else's change led to %q", b.Changes)
					}
				}
				if len(c.Changes) != 1 {
					t.Errorf("repairing the %s: %q", d.name, c.Changes)
				}
			}
			g.settled()
		})
	}
}

// A pod that is refused because its route is not there yet is captured when it is.
func TestAPodIsCapturedOnceItHasARoute(t *testing.T) {
	g := guard(t, noderoute.NFT)
	g.snapshot <- snapshot(guardedZtunnel, guardedPod, "10.4.4.20")
	_, c := g.until("the pod to be refused", func(c checked) bool { return c.call == "update" })
	if len(c.Refused) != 1 {
		t.Fatalf("refused are %v", c.Refused)
	}
	start := time.Now()
	hang(t, "10.4.4.20", "veth20")
	_, c = g.until("the pod", func(c checked) bool {
		return slices.ContainsFunc(c.Changes, func(s string) bool { return strings.HasPrefix(s, "ipset add") })
	})
	t.Logf("captured %.1f ms after its veth was begun, by %s", millis(c.at.Sub(start)), c.call)
	if got := g.drift(noderoute.Set); got != 0 {
		t.Errorf("counted as drift: %v", got)
	}
	g.stop()
	if strings.Contains(g.logs.String(), "somebody changed") {
		t.Errorf("logged as drift:\n%s", g.logs)
	}
}

// Somebody who undoes every repair gets about one a second, and a line in the log.
func TestAFlappingForeignToolIsHeldBack(t *testing.T) {
	g := guard(t, noderoute.NFT)
	repairs, start := 0, time.Now()
	var gaps []time.Duration
	for last := start; time.Since(start) < 4*time.Second; repairs++ {
		netnstest.Run(t, "ip rule del priority 101")
		_, c := g.until("the rule", func(c checked) bool { return c.Kinds[noderoute.Rules] > 0 })
		gaps = append(gaps, c.at.Sub(last))
		last = c.at
	}
	t.Logf("%d repairs in %v, after %v", repairs, time.Since(start), gaps)
	if repairs > 12 {
		t.Errorf("%d repairs in %v", repairs, time.Since(start))
	}
	g.stop()
	if n := strings.Count(g.logs.String(), "somebody keeps undoing"); n != 1 {
		t.Errorf("said %d times:\n%s", n, g.logs)
	}
}
