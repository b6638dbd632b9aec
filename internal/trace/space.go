// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"slices"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// Space is one network namespace, compiled: what Receive and Send look at for
// each packet. It does not change and may be used by several goroutines, each
// with its own Conns and Walk.
type Space struct {
	ns       *dump.Netns
	cfg      config
	hooks    [5][]stage
	foreign  [5][]string
	hasNAT   bool
	tracking bool // connections are tracked
	sets     map[string]*ipset
	fibs     map[uint32]*fib
	ipRules  []ipRule
	merged   bool // tables local and main are one
	devices  map[string]*device
	order    []*device // by index
	locals   map[uint32]string
	tcpLoose bool
	usesTOS  bool // an ip rule or a route asks for it
	// customLocals and customRules make the kernel check sources by the routes.
	customLocals, customRules bool
	doubts                    []string // of every walk
	lacks                     lacking
	ownTables                 bool // there are routes in others than the kernel's own tables
	dissects                  bool // an ip rule asks for a packet's protocol or ports
}

// Compile prepares a namespace's dump for following packets. The dump must not
// change afterwards: steps point into it. What the dump lacks is no error; a walk
// that needs it says so in Walk.Doubt.
func Compile(ns *dump.Netns, opts ...Option) (*Space, error) {
	if ns == nil {
		return nil, fmt.Errorf("compiling a namespace: there is none")
	}
	s := &Space{ns: ns}
	for _, o := range opts {
		o(&s.cfg)
	}
	s.compileDevices()
	s.compileRoutes()
	s.sets = compileSets(ns.Sets)
	k := &compiler{space: s, names: map[string]string{}, conds: make([]cond, 0, countMatches(ns.Legacy)+countMatches(ns.NFT))}
	legacy, nft := k.compileSave(ns.Legacy), k.compileSave(ns.NFT)
	s.compileHooks(legacy, nft)
	s.foreignChains(ns.Ruleset)
	s.hasNAT = legacy["nat"] != nil || nft["nat"] != nil
	s.tracking = s.tracks()
	s.tcpLoose = true
	if n, ok := s.sysctl("net.netfilter.nf_conntrack_tcp_loose"); ok {
		s.tcpLoose = n != 0
	}
	s.gaps()
	s.others()
	return s, nil
}

func countMatches(save *iptsave.Save) (n int) {
	for r := range save.Rules() {
		n += len(r.Matches) + 1
	}
	return n
}

func (s *Space) compileRoutes() {
	routes := s.ns.Routes
	if !slices.ContainsFunc(routes, func(r *iproute.Route) bool { return r.Table == tableLocal && !r.IPv6 }) {
		own := localRoutes(s.ns.Links)
		if len(s.ns.Links) == 0 {
			own = sourceRoutes(routes)
		}
		routes = append(slices.Clone(routes), own...)
	}
	s.fibs = compileFIBs(routes)
	rules := s.ns.Rules
	if len(rules) == 0 && s.ns.Rules == nil {
		rules = defaultRules()
	}
	s.ipRules = compileIPRules(rules, s.fibs)
	s.merged = isDefault(rules)
	s.customRules = !s.merged
	s.ownTables = hasOwnTables(routes)
	s.ownGateways()
	for _, r := range rules {
		s.usesTOS = s.usesTOS || r.TOS != 0
		s.dissects = s.dissects || needsDissection(r)
	}
	for _, r := range routes {
		s.usesTOS = s.usesTOS || r.TOS != 0
		// The kernel remembers that somebody else than itself made a local route.
		if r.Type == "local" && r.Proto != "kernel" && r.Line != 0 {
			s.customLocals = true
		}
	}
}

// others are what passes the rules by: it is told wherever it could matter.
func (s *Space) others() {
	if s.devices["kube-ipvs0"] != nil {
		const text = "IPVS takes packets for services here (kube-ipvs0); that is not followed"
		s.foreign[Input], s.foreign[Output] = append(s.foreign[Input], text), append(s.foreign[Output], text)
	}
	if s.devices["cilium_host"] != nil {
		s.doubts = append(s.doubts, "Cilium's programs on the devices are not followed")
	}
}

// Name is the namespace's name in the dump.
func (s *Space) Name() string { return s.ns.Name }

// Netns is the dump that the space was compiled from.
func (s *Space) Netns() *dump.Netns { return s.ns }

// Receive follows a packet that comes in by p.In. It fills w, reusing its memory.
// c is what earlier packets left behind and is brought up to date; nil stands for
// an empty table that is forgotten.
func (s *Space) Receive(p Packet, c *Conns, w *Walk) { s.follow(p, c, w, (*run).receive) }

// Send follows a packet that a local process sends, from the first routing
// decision on. An unspecified source address is chosen as the kernel chooses it.
// A packet for the namespace itself is followed through lo to its delivery.
func (s *Space) Send(p Packet, c *Conns, w *Walk) {
	p.In = ""
	s.follow(p, c, w, (*run).send)
}
