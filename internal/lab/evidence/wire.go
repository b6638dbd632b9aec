// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Wire is what passed between the nodes.
type Wire struct {
	Frames      int          `json:"frames"`
	Neighbours  int          `json:"neighbour_frames"` // ARP, IPv6 neighbour discovery and multicast listeners
	Connections []Connection `json:"connections"`
	// Other are frames that are neither of these: there should be none.
	Other []string `json:"other,omitempty"`
	// Plain are the searched texts that stand in some frame: there should be
	// none.
	Plain []string `json:"plain,omitempty"`
}

// Connection is one TLS connection between the nodes.
type Connection struct {
	Flow   Flow   `json:"flow"` // from the side that opened it
	Client *Hello `json:"client"`
	Server *Hello `json:"server"`
	Bytes  int    `json:"bytes"` // both directions
	Err    string `json:"error,omitempty"`
}

// TLS13 reports whether both sides speak TLS 1.3 and nothing else.
func (c *Connection) TLS13() bool {
	only := []uint16{VersionTLS13}
	return c.Err == "" && slices.Equal(c.Client.Versions, only) && slices.Equal(c.Server.Versions, only)
}

// ReadWire takes apart what passed between the nodes. port is the one that all
// connections must go to; texts are bytes that must not be seen.
func ReadWire(frames [][]byte, port uint16, texts []string) *Wire {
	w := &Wire{Frames: len(frames), Plain: Containing(frames, texts)}
	var all []segment
	for _, f := range frames {
		p := decode(f)
		s, isTCP := segmentOf(p)
		switch {
		case isTCP && (s.flow.To.Port() == port || s.flow.From.Port() == port):
			all = append(all, s)
		case isNeighbour(p):
			w.Neighbours++
		default:
			w.Other = append(w.Other, describe(p))
		}
	}
	for _, flow := range flows(all) {
		if flow.To.Port() == port {
			w.Connections = append(w.Connections, connection(all, flow))
		}
	}
	return w
}

func isNeighbour(p gopacket.Packet) bool {
	return p.Layer(layers.LayerTypeARP) != nil || p.Layer(layers.LayerTypeICMPv6) != nil
}

func connection(all []segment, flow Flow) Connection {
	c := Connection{Flow: flow}
	var errs []string
	read := func(f Flow) *Hello {
		data, err := stream(all, f)
		c.Bytes += len(data)
		var h *Hello
		if err == nil {
			h, err = parseTLS(data)
		}
		if err != nil {
			errs = append(errs, fmt.Sprintf("%s: %v", f, err))
		}
		return h
	}
	c.Client, c.Server = read(flow), read(flow.Back())
	if len(errs) > 0 {
		c.Err = errs[0]
	}
	return c
}

// Containing returns the texts that stand in at least one frame.
func Containing(frames [][]byte, texts []string) []string {
	var found []string
	for _, text := range texts {
		for _, f := range frames {
			if bytes.Contains(f, []byte(text)) {
				found = append(found, text)
				break
			}
		}
	}
	return found
}

// Opened are the connections whose opening was captured, as flows from the one
// who opens, in the order they first appear.
func Opened(frames [][]byte) []Flow {
	var first []segment
	for _, s := range segments(frames) {
		if s.tcp.SYN && !s.tcp.ACK {
			first = append(first, s)
		}
	}
	return flows(first)
}

// Longest is the largest number of payload bytes that one TCP segment to or from a
// port carries. What an idle HTTP/2 connection says in passing (a ping, the end of
// a stream, a window) stays below 100 bytes with its TLS record; a request and its
// answer don't.
func Longest(frames [][]byte, port uint16) int {
	longest := 0
	for _, s := range segments(frames) {
		if s.flow.To.Port() == port || s.flow.From.Port() == port {
			longest = max(longest, len(s.tcp.Payload))
		}
	}
	return longest
}

// Peers are the addresses that TCP segments came from and went to, as flows with
// payload, in the order they first appear.
func Peers(frames [][]byte) []Flow {
	var with []segment
	for _, s := range segments(frames) {
		if len(s.tcp.Payload) > 0 {
			with = append(with, s)
		}
	}
	return flows(with)
}
