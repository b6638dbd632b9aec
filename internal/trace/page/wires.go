// SPDX-License-Identifier: Apache-2.0

package page

import "strings"

// linkAll draws what connects the spots: veth pairs, the tunnels, the network.
func (p *picture) linkAll(nodes []*nodeView, link *spot) {
	for _, n := range nodes {
		for i, veth := range n.toPods {
			if i < len(n.pods) {
				p.wire("veth", veth.box, n.pods[i].box)
			}
		}
		for _, outer := range n.tunnels {
			for _, inner := range n.inner {
				if inner.key.role == roleTunnel && strings.HasSuffix(inner.Title, outer.Title) {
					p.wire("tunnel", inner.box, outer.box)
				}
			}
		}
		for _, outer := range n.toZtunnel {
			for _, inner := range n.inner {
				if inner.key.role == roleZtunnel {
					p.wire("veth", inner.box, outer.box)
				}
			}
		}
	}
	if link == nil {
		return
	}
	link.box = p.linkBox(nodes)
	for _, n := range nodes {
		for _, up := range n.uplink {
			p.wire("link", up.box, link.box)
		}
	}
}

// linkBox is between the first two nodes, or behind the only one.
func (p *picture) linkBox(nodes []*nodeView) box {
	const w = linkW - 2*pad
	y := p.H / 2
	for _, n := range nodes {
		for _, up := range n.uplink {
			y = up.Y
		}
	}
	for _, a := range p.Areas {
		if a.Kind == "node" && len(nodes) > 0 && a.Title == nodes[0].name {
			return box{a.X + a.W + pad, y, w, chipH}
		}
	}
	return box{pad, y, w, chipH}
}

func (p *picture) wire(kind string, a, b box) {
	w := wire{Kind: kind, X1: a.CX(), Y1: a.CY(), X2: b.CX(), Y2: b.CY()}
	p.Wires = append(p.Wires, w)
}

func afterSlash(name string) string {
	return name[strings.LastIndexByte(name, '/')+1:]
}

func beforeSlash(name string) string {
	before, _, ok := strings.Cut(name, "/")
	if !ok {
		return ""
	}
	return before
}
