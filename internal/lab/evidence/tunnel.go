// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Inner is a TCP connection's direction seen inside a tunnel.
type Inner struct {
	VNI    uint32     `json:"vni"`
	Outer  netip.Addr `json:"outer_from"` // who sent the tunnel's packets
	To     netip.Addr `json:"outer_to"`
	Flow   Flow       `json:"flow"`
	Frames int        `json:"frames"`
	Bytes  int        `json:"bytes"` // of TCP payload
}

func (i Inner) String() string {
	return fmt.Sprintf("VNI %d, %s -> %s: %s, %d frames, %d bytes", i.VNI, i.Outer, i.To, i.Flow, i.Frames, i.Bytes)
}

// Tunnels finds the TCP connections inside the tunnel packets (kind is geneve or
// vxlan, port the UDP port), in the order they first appear.
func Tunnels(frames [][]byte, kind string, port uint16) []Inner {
	var all []Inner
	for _, f := range frames {
		one, ok := inner(decode(f), kind, port)
		if !ok {
			continue
		}
		known := false
		for i := range all {
			if all[i].VNI == one.VNI && all[i].Flow == one.Flow && all[i].Outer == one.Outer {
				all[i].Frames++
				all[i].Bytes += one.Bytes
				known = true
			}
		}
		if !known {
			all = append(all, one)
		}
	}
	return all
}

// inner decodes one tunnel packet. The tunnel's header is decoded by kind, not
// by the port's customary protocol.
func inner(p gopacket.Packet, kind string, port uint16) (Inner, bool) {
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		return Inner{}, false
	}
	udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if !ok || uint16(udp.DstPort) != port {
		return Inner{}, false
	}
	vni, packet, ok := unwrap(udp.Payload, kind)
	if !ok {
		return Inner{}, false
	}
	s, ok := segmentOf(packet)
	if !ok {
		return Inner{}, false
	}
	from, _ := netip.AddrFromSlice(ip.SrcIP.To4())
	to, _ := netip.AddrFromSlice(ip.DstIP.To4())
	return Inner{VNI: vni, Outer: from, To: to, Flow: s.flow, Frames: 1, Bytes: len(s.tcp.Payload)}, true
}

func unwrap(data []byte, kind string) (uint32, gopacket.Packet, bool) {
	switch kind {
	case "geneve":
		g := &layers.Geneve{}
		if err := g.DecodeFromBytes(data, gopacket.NilDecodeFeedback); err != nil {
			return 0, nil, false
		}
		return g.VNI, decode(g.LayerPayload()), true
	case "vxlan":
		v := &layers.VXLAN{}
		if err := v.DecodeFromBytes(data, gopacket.NilDecodeFeedback); err != nil {
			return 0, nil, false
		}
		return v.VNI, decode(v.LayerPayload()), true
	}
	return 0, nil, false
}
