// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Flow is one direction of a TCP connection.
type Flow struct {
	From netip.AddrPort `json:"from"`
	To   netip.AddrPort `json:"to"`
}

func (f Flow) String() string { return f.From.String() + " -> " + f.To.String() }

// Back is the other direction.
func (f Flow) Back() Flow { return Flow{f.To, f.From} }

// segment is one TCP segment.
type segment struct {
	flow Flow
	tcp  *layers.TCP
}

// decode takes a frame apart, from Ethernet up.
func decode(frame []byte) gopacket.Packet {
	return gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
}

// segmentOf is the TCP segment that a packet carries outermost.
func segmentOf(p gopacket.Packet) (segment, bool) {
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		return segment{}, false
	}
	tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok {
		return segment{}, false
	}
	from, _ := netip.AddrFromSlice(ip.SrcIP.To4())
	to, _ := netip.AddrFromSlice(ip.DstIP.To4())
	flow := Flow{netip.AddrPortFrom(from, uint16(tcp.SrcPort)), netip.AddrPortFrom(to, uint16(tcp.DstPort))}
	return segment{flow, tcp}, true
}

// segments are the TCP segments among frames, in the order captured.
func segments(frames [][]byte) []segment {
	var all []segment
	for _, f := range frames {
		if s, ok := segmentOf(decode(f)); ok {
			all = append(all, s)
		}
	}
	return all
}

// describe names what a frame is, for a person.
func describe(p gopacket.Packet) string {
	var names []string
	for _, l := range p.Layers() {
		switch l.LayerType() {
		case layers.LayerTypeEthernet, gopacket.LayerTypePayload:
		default:
			names = append(names, l.LayerType().String())
		}
	}
	text := strings.Join(names, "/")
	if net := p.NetworkLayer(); net != nil {
		text += " " + net.NetworkFlow().String()
	}
	if tr := p.TransportLayer(); tr != nil {
		text += " ports " + tr.TransportFlow().String()
	}
	if text == "" {
		text = fmt.Sprintf("%d bytes", len(p.Data()))
	}
	return text
}
