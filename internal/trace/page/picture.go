// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// box is a rectangle of the picture, in its own units, which are pixels on a screen
// that is wide enough.
type box struct{ X, Y, W, H int }

// CX and CY are the middle.
func (b box) CX() int { return b.X + b.W/2 }

// CY is the middle's height.
func (b box) CY() int { return b.Y + b.H/2 }

// area is a namespace's or node's frame.
type area struct {
	box
	Kind  string // "node", "ztunnel"
	Title string
	Label string
}

// wire is a connection that is always there: a veth pair, a tunnel, the network.
type wire struct {
	Kind           string // "veth", "tunnel", "link"
	X1, Y1, X2, Y2 int
}

// picture is the map of all places that a story has.
type picture struct {
	W, H  int
	Areas []area
	Wires []wire
	Spots []*spot
}

// Measures of the picture.
const (
	chipH     = 24 // height of a spot
	rowH      = 32 // from one row of spots to the next
	podW      = 138
	midW      = 426 // of what stands between pods and uplink, ztunnel included
	sideW     = 88  // a device between a pod and the hooks
	hookW     = 84
	pad       = 8
	linkW     = 72
	titleH    = 22
	podH      = 54
	columnGap = 6
)

// nodeView is one node while it is laid out.
type nodeView struct {
	name           string
	pods           []*spot
	host, ztunnel  []*spot // hooks and what has no place of its own
	proxy          []*spot
	tunnels        []*spot // the host's
	inner          []*spot // the ztunnel's devices
	toZtunnel      []*spot
	toPods, uplink []*spot
	ztunnelName    string
	hasHost        bool
}

// lines is what the nodes of a picture have in common, so that their rows are level.
type lines struct {
	ztunnel  int  // rows in the ztunnel
	devices  bool // there is a row of devices that lead to a ztunnel
	several  bool // there is more than one node
	mirrored bool // of the node being laid out
}

// draw lays out the picture of a way.
func draw(r *route, ztunnels map[string]string) *picture {
	p := &picture{Spots: r.spots}
	nodes, link := sortSpots(r, ztunnels)
	l := lines{several: len(nodes) > 1}
	for _, n := range nodes {
		l.ztunnel = max(l.ztunnel, n.ztunnelRows())
		l.devices = l.devices || len(n.tunnels)+len(n.toZtunnel) > 0
	}
	x, h := pad, 0
	for i, n := range nodes {
		l.mirrored = i > 0 && i == len(nodes)-1
		w := n.width(l.several)
		h = max(h, p.node(n, box{x, pad, w, 0}, l))
		x += w
		if i+1 < len(nodes) || link != nil && len(nodes) == 1 {
			x += linkW
		}
	}
	for i := range p.Areas {
		if p.Areas[i].Kind == "node" {
			p.Areas[i].H = h
		}
	}
	p.H = h + 2*pad
	p.W = x + pad
	p.linkAll(nodes, link)
	return p
}

// sortSpots gives each spot to its node.
func sortSpots(r *route, ztunnels map[string]string) (nodes []*nodeView, link *spot) {
	byName := map[string]*nodeView{}
	for _, s := range r.spots {
		if s.key.role == roleLink {
			link = s
			continue
		}
		name := s.key.space.node
		n := byName[name]
		if n == nil {
			n = &nodeView{name: name, ztunnelName: ztunnels[name]}
			byName[name] = n
			nodes = append(nodes, n)
		}
		n.take(s)
	}
	for _, n := range nodes {
		for _, list := range [][]*spot{n.tunnels, n.inner} {
			slices.SortFunc(list, func(a, b *spot) int {
				return cmp.Or(cmp.Compare(a.key.role, b.key.role), strings.Compare(a.Label, b.Label))
			})
		}
	}
	return nodes, link
}

func (n *nodeView) take(s *spot) {
	inZtunnel := s.key.space.space == "ztunnel"
	n.hasHost = n.hasHost || s.key.space.space == "host"
	switch s.key.role {
	case rolePod:
		n.pods = append(n.pods, s)
	case roleProxy:
		n.proxy = append(n.proxy, s)
	case roleTunnel:
		if inZtunnel {
			n.inner = append(n.inner, s)
		} else {
			n.tunnels = append(n.tunnels, s)
		}
	case roleZtunnel:
		if inZtunnel {
			n.inner = append(n.inner, s)
		} else {
			n.toZtunnel = append(n.toZtunnel, s)
		}
	case rolePodVeth:
		n.toPods = append(n.toPods, s)
	case roleUplink:
		n.uplink = append(n.uplink, s)
	default:
		if inZtunnel {
			n.ztunnel = append(n.ztunnel, s)
		} else {
			n.host = append(n.host, s)
		}
	}
}

// proxyColumns and zHookColumns are how many spots stand beside each other in the
// ztunnel, hostColumns on the host.
const (
	proxyColumns = 4
	zHookColumns = 5
	hostColumns  = 3
)

func rows(n, columns int) int { return (n + columns - 1) / columns }

func (n *nodeView) ztunnelRows() int {
	if len(n.proxy)+len(n.ztunnel)+len(n.inner) == 0 {
		return 0
	}
	return rows(len(n.proxy), proxyColumns) + rows(len(n.ztunnel), zHookColumns) + min(len(n.inner), 1)
}

// width is a node's: pods, the host, and on the other side its uplink or, where
// there is one node alone, further pods.
func (n *nodeView) width(several bool) int {
	w := pad + midW + pad
	if len(n.pods) > 0 {
		w += podW + columnGap
	}
	if !several && len(n.pods) > 1 {
		w += podW + sideW + 2*columnGap
	}
	return w
}

// label cuts a name to about n characters, in its middle: both ends tell pods apart.
func label(name string, n int) string {
	if utf8.RuneCountInString(name) <= n {
		return name
	}
	r := []rune(name)
	left := n / 2
	return string(r[:left]) + "…" + string(r[len(r)-(n-left-1):])
}
