// SPDX-License-Identifier: Apache-2.0

package live

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

// recorder keeps a namespace's events.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) hear(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// watched records what the router's kernel tells while fn runs.
func (w *world) watched(fn func()) ([]*Passage, *Watcher) {
	w.t.Helper()
	var r recorder
	watcher, err := Watch(w.router, w.filter(), r.hear)
	if err != nil {
		w.t.Fatal(err)
	}
	fn()
	words := watcher.vocabulary()
	if err := watcher.Close(); err != nil {
		w.t.Error(err)
	}
	if len(watcher.Doubts) > 0 {
		w.t.Error(watcher.Doubts)
	}
	j := newJoiner("router", words)
	for _, e := range r.events {
		j.add(e)
	}
	return j.finish(), watcher
}

// dump is the router as a dump has it.
func (w *world) dump() *dump.Netns {
	w.t.Helper()
	ns := &dump.Netns{Name: "host", Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}
	save, err := iptsave.Parse("rules", w.run(w.router, "", "iptables-"+w.variant+"-save"))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.variant == "nft" {
		ns.NFT = save
	} else {
		ns.Legacy = save
	}
	if ns.Rules, err = iproute.ParseRules("rules", w.run(w.router, "", "ip", "-4", "rule")); err != nil {
		w.t.Fatal(err)
	}
	if ns.Routes, err = iproute.ParseRoutes("routes", w.run(w.router, "", "ip", "-4", "route", "show", "table", "all"), 0); err != nil {
		w.t.Fatal(err)
	}
	if ns.Links, err = iproute.ParseLinks("links", w.run(w.router, "", "ip", "-d", "addr")); err != nil {
		w.t.Fatal(err)
	}
	return ns
}

func (w *world) teller() *teller {
	w.t.Helper()
	t := &teller{ns: w.dump(), routes: kernelRoutes{w.router}}
	err := w.router.Do(func() (err error) {
		t.handles, err = readHandles()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if t.devices, err = w.router.devices(); err != nil {
		w.t.Fatal(err)
	}
	return t
}

const (
	dnatRule = "-A PREROUTING -d 10.99.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.9.2.2:8080"
	saveRule = "-A FORWARD -m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220"
	pass     = "FORWARD filter -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT, "
)

// Both variants' rules are told with every mark, and the tracer says the same of
// the dump.
func TestKernelTells(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t, variant)
			w.serve()
			var from netip.AddrPort
			teller := w.teller()
			passages, _ := w.watched(func() { from = w.call() })
			syn := find(t, passages, flagSYN)
			answer := find(t, passages, flagSYN|flagACK)
			if syn.First.Src != from || syn.First.Dst != netip.AddrPortFrom(vip, vipPort) || syn.In != "toclient" {
				t.Errorf("the first packet is %s by %s, want from %s", &syn.First, syn.In, from)
			}
			conns := trace.NewConns()
			check(t, teller, conns, syn, []string{
				"PREROUTING mangle -A PREROUTING -j OWN, mark 0x0 → 0x0, connmark 0x0 → 0x0",
				"PREROUTING mangle -A OWN -i toclient -j MARK --set-xmark 0x220/0x220, mark 0x0 → 0x220, connmark 0x0 → 0x0",
				"PREROUTING nat " + dnatRule + ", mark 0x220 → 0x220, connmark 0x0 → 0x0",
				"FORWARD mangle " + saveRule + ", mark 0x220 → 0x220, connmark 0x0 → 0x220",
				pass + "mark 0x220 → 0x220, connmark 0x220 → 0x220",
			})
			check(t, teller, conns, answer, []string{
				"PREROUTING mangle -A PREROUTING -j OWN, mark 0x0 → 0x0, connmark 0x220 → 0x220",
				"PREROUTING mangle -A OWN -m connmark --mark 0x220/0x220 -j MARK --set-xmark 0x200/0x200, mark 0x0 → 0x200, connmark 0x220 → 0x220",
				"PREROUTING mangle -A OWN -m mark --mark 0x200/0x200 -j RETURN, mark 0x200 → 0x200, connmark 0x220 → 0x220",
				pass + "mark 0x200 → 0x200, connmark 0x220 → 0x220",
			})
			if c := syn.Conn; c == nil || c.Kind != ConnNew || c.Mark != 0x220 || c.Reply.Src != netip.AddrPortFrom(serverIP, serverPort) {
				t.Errorf("connection tracking said %+v", c)
			}
			if syn.Arrived.IsZero() || !syn.Left.After(syn.Arrived) {
				t.Errorf("the packet came in at %s and left at %s", syn.Arrived, syn.Left)
			}
		})
	}
}

func find(t *testing.T, passages []*Passage, flags uint8) *Passage {
	t.Helper()
	i := slices.IndexFunc(passages, func(p *Passage) bool { return p.First.Flags == flags })
	if i < 0 {
		t.Fatalf("no packet with flags %s among %d", flagNames(flags), len(passages))
	}
	return passages[i]
}

func check(t *testing.T, teller *teller, conns *trace.Conns, p *Passage, want []string) {
	t.Helper()
	var seen trace.Walk
	teller.tell(p, &seen, false)
	if len(seen.Doubt) > 0 {
		t.Error(seen.Doubt)
	}
	if got := matched(&seen); !slices.Equal(got, want) {
		t.Errorf("%s: the kernel did\n%s\nwant\n%s", &p.First, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	space, err := trace.Compile(teller.ns)
	if err != nil {
		t.Fatal(err)
	}
	predicted := trace.Walk{Record: true}
	space.Receive(trace.Packet{Protocol: p.First.Protocol, Src: p.First.Src, Dst: p.First.Dst, In: p.In, TCPFlags: p.First.Flags}, conns, &predicted)
	for _, d := range compareWalks(&predicted, &seen, false) {
		t.Errorf("%s: %s", &p.First, d)
	}
}

// A rule that changed since the dump is found out.
func TestKernelIsRight(t *testing.T) {
	w := newWorld(t, "nft")
	w.serve()
	teller := w.teller()
	w.run(w.router, "", "iptables-nft", "-t", "mangle", "-R", "OWN", "4", "-i", "toclient", "-j", "MARK", "--set-xmark", "0x240/0x240")
	err := w.router.Do(func() (err error) {
		teller.handles, err = readHandles()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	passages, _ := w.watched(func() { w.call() })
	p := find(t, passages, flagSYN)
	var seen trace.Walk
	teller.tell(p, &seen, false)
	if seen.Packet.Mark != 0x240 {
		t.Errorf("the mark is %#x", seen.Packet.Mark)
	}
	space, err := trace.Compile(teller.ns)
	if err != nil {
		t.Fatal(err)
	}
	predicted := trace.Walk{Record: true}
	space.Receive(trace.Packet{Protocol: p.First.Protocol, Src: p.First.Src, Dst: p.First.Dst, In: p.In, TCPFlags: p.First.Flags}, nil, &predicted)
	differences := compareWalks(&predicted, &seen, false)
	if len(differences) == 0 || !strings.Contains(differences[0].Live, "mark 0x0 → 0x240") {
		t.Errorf("the differences are %v", differences)
	}
}
