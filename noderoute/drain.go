// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/geneve"
)

// A ztunnel that was replaced keeps the connections it has until they end or it
// does. They are told from others by a number in the connection's mark, the slot of
// that ztunnel; a packet of such a connection that does not come from the old
// ztunnel gets the same number in its own mark and is routed straight to it. While
// nothing drains, nothing of this is on the node.
const (
	// DrainMask is where the slot's number stands, in the connection's mark and in
	// the packet's: 0 for none.
	DrainMask = 0xc00
	// DrainSlots is how many ztunnels can drain at once.
	DrainSlots = 3

	drainShift = 10
	// TableDrain is the table of the first slot; the others' follow.
	TableDrain = 103
	tableLast  = TableDrain + DrainSlots - 1

	// A packet for a draining ztunnel is routed by the slot's table and, where that
	// ztunnel has just gone and its routes with it, to the active one: that knows
	// nothing of the connection and resets it, so that nobody waits in vain.
	priorityDrain    = PriorityOutbound
	priorityFallback = PriorityProxyReturn
)

// Drain is a ztunnel that is not active any more and still has connections.
type Drain struct {
	Ztunnel
	// Slot is its number, from 1 to DrainSlots; 0 while it only is not yet
	// forgotten.
	Slot int
}

func (d Drain) mark() uint32  { return uint32(d.Slot) << drainShift }
func (d Drain) table() uint32 { return slotTable(d.Slot) }

func slotTable(slot int) uint32 { return TableDrain + uint32(slot) - 1 }

// slotOf is the number in a mark, 0 for none.
func slotOf(mark uint32) int { return int(mark&DrainMask) >> drainShift }

// slotRules lead packets with a slot's number.
func slotRules(slot int) []Rule {
	mark := uint32(slot) << drainShift
	return []Rule{
		{Priority: priorityDrain, Mark: mark, Mask: DrainMask, Table: slotTable(slot)},
		{Priority: priorityFallback, Mark: mark, Mask: DrainMask, Table: TableProxyReturn},
	}
}

func (d Drain) route() Route {
	return Route{Table: d.table(), Dst: anywhere(), Via: d.IP, Dev: d.Veth, OnLink: true}
}

// slotDevices are the names of the devices that hear a slot's ztunnel.
func slotDevices(slot int) (in, out string) {
	return fmt.Sprintf("%s%d", DeviceInbound, slot), fmt.Sprintf("%s%d", DeviceOutbound, slot)
}

func isSlotDevice(name string) bool {
	for slot := 1; slot <= DrainSlots; slot++ {
		if in, out := slotDevices(slot); name == in || name == out {
			return true
		}
	}
	return false
}

// drainDevices let the node hear what draining ztunnels send through their tunnels.
// One VXLAN device hears everybody. A Geneve device hears its remote alone, so there
// is a pair of them per draining ztunnel; they have the hardware addresses of the
// devices whose place they take, which is what that ztunnel knows.
func drainDevices(devices []geneve.Device, drains []Drain, macs map[string]geneve.MAC) []geneve.Device {
	out := slices.Clone(devices)
	for _, d := range drains {
		in, outbound := slotDevices(d.Slot)
		for i, name := range []string{in, outbound} {
			was := devices[i]
			if was.Kind != geneve.Geneve {
				continue
			}
			mac, is := macs[name]
			if !is {
				mac = macs[was.Name]
			}
			out = append(out, geneve.Device{
				Name: name, Kind: was.Kind, VNI: was.VNI, Port: was.Port, TxQueueLen: was.TxQueueLen,
				Remote: d.IP, MAC: mac,
			})
		}
	}
	return out
}

// fixedMACs are for VXLAN, where one device of the node hears all ztunnels, and
// those that drain have the same addresses as the active one: whoever asked for a
// hardware address could be answered by another. So all have the same ones, and a
// ztunnel need not ask for the node's. Geneve keeps them apart by itself.
func fixedMACs(k geneve.Kind, own, far netip.Addr) (mac, farMAC geneve.MAC) {
	if k != geneve.VXLAN {
		return geneve.MAC{}, geneve.MAC{}
	}
	return geneve.MACOf(own), geneve.MACOf(far)
}

// drainRules come before all others in PREROUTING.
func drainRules(c HostConfig, drains []Drain) []string {
	var slotted []Drain
	for _, d := range drains {
		if d.Slot != 0 {
			slotted = append(slotted, d)
		}
	}
	var rules []string
	add := func(format string, args ...any) { rules = append(rules, fmt.Sprintf(format, args...)) }
	none := mask(0, DrainMask)
	skipped := fmt.Sprintf("-m mark --mark %s -j RETURN", mask(SkipMark, SkipMask))
	if len(slotted) > 0 {
		// With a SYN a connection begins, whoever had its ports before.
		add("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m connmark ! --mark %s -j CONNMARK --set-xmark %s", none, none)
		for _, d := range slotted {
			// What an old ztunnel sends through its tunnels is known by the veth
			// that the outer packet comes in by; the inner one keeps its mark.
			outer := fmt.Sprintf("-i %s -p udp -m udp --dport %d -j ", d.Veth, c.TunnelPort)
			add("%sMARK --set-xmark %s", outer, mask(d.mark(), DrainMask))
			add("%sRETURN", outer)
		}
		add("-m mark ! --mark %s -j CONNMARK --save-mark --nfmask %#x --ctmask %#x", none, DrainMask, DrainMask)
		add("-m mark ! --mark %s -j MARK --set-xmark %s", none, mask(SkipMark, SkipMask|DrainMask))
		rules = append(rules, skipped)
	}
	for _, d := range drains {
		// The article's rules for the veth of the ztunnel.
		pods := fmt.Sprintf("! -s %s/32 -i %s -j ", d.IP, d.Veth)
		if d.Slot != 0 {
			add("%sCONNMARK --set-xmark %s", pods, mask(d.mark(), DrainMask))
		}
		add("%sMARK --set-xmark %s", pods, mask(ProxyMark, ProxyMask))
		add("-i %s %s", d.Veth, skipped)
		add("-i %s -j MARK --set-xmark %s", d.Veth, mask(ConnSkipMark, ConnSkipMask))
		rules = append(rules, skipped)
	}
	for _, d := range slotted {
		add("-m connmark --mark %s -j MARK --set-xmark %s", mask(d.mark(), DrainMask), mask(d.mark(), DrainMask))
	}
	if len(slotted) > 0 {
		add("-m mark ! --mark %s -j RETURN", none)
	}
	return rules
}

// drainOutput is for connections of the node's own to captured pods.
func drainOutput(drains []Drain) []string {
	var rules []string
	for _, d := range drains {
		if d.Slot != 0 {
			m := mask(d.mark(), DrainMask)
			rules = append(rules, fmt.Sprintf("-m connmark --mark %s -j MARK --set-xmark %s", m, m))
		}
	}
	return rules
}

// slots says who has which slot, by number.
type slots [DrainSlots + 1]slot

type slot struct {
	owner   Ztunnel // the zero Ztunnel where nobody is known to have it
	used    bool    // something of ours is there
	foreign bool    // somebody else's routes are in its table
}

func (s *slots) of(z Ztunnel) int {
	for n := 1; n <= DrainSlots; n++ {
		if s[n].used && s[n].owner == z {
			return n
		}
	}
	return 0
}

// placed is what becomes of ztunnels that are not active any more.
type placed struct {
	drains []Drain      // in the order of their slots
	begins Drain        // of drains: the one that gets its slot now
	ending []Drain      // that have a slot and are not to have it any more
	over   []netip.Addr // that live, and there is no slot for them
}

// place gives the ztunnel that is being replaced a slot, and the others keep theirs.
// live are the ztunnels that may drain, the newest first; one that never was active
// has no slot and needs none. Where there are too few, the oldest loses its own.
func place(live []Ztunnel, replaced Ztunnel, have slots) placed {
	var p placed
	room, held := 0, [DrainSlots + 1]bool{}
	for n := 1; n <= DrainSlots; n++ {
		if !have[n].foreign {
			room++
		}
	}
	starts := false
	for _, z := range live {
		n := have.of(z)
		switch {
		case n == 0 && z != replaced:
		case room == 0:
			p.over = append(p.over, z.IP)
		case z == replaced:
			room--
			held[n] = true
			p.begins, starts = Drain{z, n}, true
		default:
			room--
			held[n] = true
			p.drains = append(p.drains, Drain{z, n})
		}
	}
	if starts {
		if p.begins.Slot == 0 {
			p.begins.Slot = have.free(held)
			held[p.begins.Slot] = true
		}
		p.drains = append(p.drains, p.begins)
	}
	for n := 1; n <= DrainSlots; n++ {
		if have[n].used && (!held[n] || n == p.begins.Slot && have[n].owner != replaced) {
			p.ending = append(p.ending, Drain{have[n].owner, n})
		}
	}
	slices.SortFunc(p.drains, func(a, b Drain) int { return a.Slot - b.Slot })
	return p
}

// free is a slot that nobody holds, one that is not in use if there is any.
func (s *slots) free(held [DrainSlots + 1]bool) int {
	free := 0
	for n := DrainSlots; n >= 1; n-- {
		if !held[n] && !s[n].foreign && (free == 0 || !s[n].used || s[free].used) {
			free = n
		}
	}
	return free
}
