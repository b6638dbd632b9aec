// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"net/netip"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// events reads all events that have come and says which kinds they are about.
func (w *watcher) events() (Kinds, error) {
	var kinds Kinds
	for _, c := range []*nlbatch.Conn{w.route, w.nft} {
		if c == nil {
			continue
		}
		err := c.Events(func(m nlbatch.Message) { kinds |= w.event(m) })
		if errors.Is(err, nlbatch.ErrOverflow) {
			kinds, err = Everything, nil // what came later is read with the next poll
		}
		if err != nil {
			return kinds, err
		}
	}
	return kinds, nil
}

// event says which kind of ours an event may be about, 0 for none. Whoever made a
// change through this Node's sockets knows of it.
func (w *watcher) event(m nlbatch.Message) Kinds {
	if m.Port != 0 && w.node.own.has(m.Port) {
		return 0
	}
	concerns, kind := false, Kinds(0)
	switch m.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		concerns, kind = w.link(m.Data), Links
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		concerns, kind = w.address(m.Data), Links
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		concerns, kind = w.routed(m.Data), Routes
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		concerns, kind = ruled(m.Data), Rules
	case unix.RTM_NEWNETCONF:
		concerns, kind = w.setting(m.Data), Sysctls
	default:
		concerns, kind = chained(m), Chains
	}
	if !concerns {
		return 0
	}
	return kind
}

// link tells whether a link is a tunnel device or a veth in use. The kernel does
// not announce the routes that go with a link.
func (w *watcher) link(p []byte) bool {
	if len(p) < unix.SizeofIfInfomsg {
		return false
	}
	for a := range nlbatch.Attributes(p[unix.SizeofIfInfomsg:]) {
		if a.Type == unix.IFLA_IFNAME {
			return w.node.interest.device(a.String())
		}
	}
	return false
}

func (w *watcher) address(p []byte) bool {
	return len(p) >= unix.SizeofIfAddrmsg && p[0] == unix.AF_INET && w.node.interest.address(readLocal(p))
}

// routed tells whether a route is in one of our tables, or is one to the ztunnel
// or a pod, which says what their veths are.
func (w *watcher) routed(p []byte) bool {
	r, ok := readRoute(p)
	if !ok {
		return false
	}
	ours := r.table >= TableInbound && r.table <= tableLast
	return ours || (r.dst.IsSingleIP() && w.node.interest.target(r.dst.Addr()))
}

func ruled(p []byte) bool {
	r, ok := readRule(p)
	return ok && r.Priority >= PrioritySkip && r.Priority <= PriorityInbound
}

// The kernel's numbers, from linux/netconf.h: what changed is an attribute of a
// device, which two negative numbers stand for all and default.
const (
	netconfIndex    = 1
	netconfRPFilter = 3

	netconfAll     = -1
	netconfDefault = -2
)

// setting tells whether rp_filter was set to something of a device in use. A new
// device is announced with all its settings.
func (w *watcher) setting(p []byte) bool {
	const header = 4 // struct netconfmsg, padded
	if len(p) < header || p[0] != unix.AF_INET {
		return false
	}
	index, value := 0, uint32(0)
	for a := range nlbatch.Attributes(p[header:]) {
		switch a.Type {
		case netconfIndex:
			index = int(int32(a.Uint32()))
		case netconfRPFilter:
			value = a.Uint32()
		}
	}
	if value == 0 { // it is what all of them should have
		return false
	}
	if index == netconfAll || index == netconfDefault {
		return true
	}
	name, err := w.query.name(index)
	return err == nil && w.node.interest.device(name)
}

// The kernel's numbers of events, from linux/netfilter/nf_tables.h.
const (
	nftMsgNewTable = 0
	nftMsgNewChain = 3
	nftMsgNewRule  = 6
	nftMsgDelRule  = 8
	nftaRuleChain  = 2
)

// chained tells whether an nftables event is about chains of ours, or about the
// built-in ones that lead to them. Others rewrite theirs all day.
func chained(m nlbatch.Message) bool {
	if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 || m.Data[0] != unix.AF_INET {
		return false
	}
	var tableAttr, chainAttr uint16
	switch m.Type & 0xff {
	case nftMsgNewTable, nftMsgDelTable:
		tableAttr = nftaTableName
	case nftMsgNewChain, nftMsgDelChain:
		tableAttr, chainAttr = nftaChainTable, nftaChainName
	case nftMsgNewRule, nftMsgDelRule:
		tableAttr, chainAttr = nftaRuleTable, nftaRuleChain
	default:
		return false
	}
	table, chain := "", ""
	for a := range nlbatch.Attributes(m.Data[4:]) {
		switch {
		case a.Type == tableAttr:
			table = a.String()
		case a.Type == chainAttr:
			chain = a.String()
		}
	}
	ours := chainAttr == 0 || isBuiltin(chain) || ownChain(Host, chain)
	return ours && (table == "mangle" || table == "nat")
}

// readLocal takes the address itself out of struct ifaddrmsg and its attributes.
func readLocal(p []byte) (local netip.Addr) {
	for a := range nlbatch.Attributes(p[unix.SizeofIfAddrmsg:]) {
		if a.Type == unix.IFA_LOCAL {
			local = a.Addr()
		}
	}
	return local
}
