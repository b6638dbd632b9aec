// SPDX-License-Identifier: Apache-2.0

package page

import (
	"slices"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// placer puts things into a node's frame, mirrored where the node is the last one:
// its uplink is on the left then, and its pods on the right.
type placer struct {
	frame    box
	mirrored bool
}

func (p placer) at(x, y, w, h int) box {
	if p.mirrored {
		x = p.frame.W - x - w
	}
	return box{p.frame.X + x, p.frame.Y + y, w, h}
}

// hostSlots and ztunnelSlots are the places of the hooks, as a packet passes them.
var (
	hostSlots    = [...]string{"PREROUTING", "routing", "POSTROUTING", "INPUT", "FORWARD", "OUTPUT"}
	ztunnelSlots = [...]string{"PREROUTING", "INPUT", "routing", "OUTPUT", "POSTROUTING"}
)

// node lays out one node and gives its height.
func (p *picture) node(n *nodeView, frame box, l lines) int {
	put := placer{frame, l.mirrored}
	frameAt := len(p.Areas)
	p.Areas = append(p.Areas, area{box: frame, Kind: "node", Title: n.name, Label: label(story.NodeLabel(n.name), 56)})
	midX := pad
	if len(n.pods) > 0 {
		midX += podW + columnGap
	}
	y := titleH
	if l.ztunnel > 0 {
		h := titleH + l.ztunnel*rowH
		if n.ztunnelRows() > 0 {
			p.Areas = append(p.Areas, area{box: put.at(midX, y, midW, h), Kind: "ztunnel", Title: n.ztunnelName, Label: label("ztunnel "+n.ztunnelName, 60)})
			n.inZtunnel(put, midX, y+titleH-2, l.ztunnel)
		}
		y += h + pad + 6
	}
	if l.devices {
		devices := slices.Concat(n.tunnels, n.toZtunnel)
		row(put, devices, midX+3, y, midW-6, len(devices))
		y += rowH + 4
	}
	low := slots(put, n.host, hostSlots[:], hostColumns, hookW, midX+sideW+columnGap, y)
	low = max(low, n.sides(put, midX, y, l.several), n.stackPods(put, y, l.several), y+2*rowH)
	p.Areas[frameAt].H = low + 2
	return low + 2
}

// inZtunnel lays out the ztunnel's namespace: the proxy above, its devices below.
func (n *nodeView) inZtunnel(put placer, x, y, zRows int) {
	lift := (zRows - n.ztunnelRows()) * rowH
	y += lift
	for i := 0; i < len(n.proxy); i += proxyColumns {
		part := n.proxy[i:min(i+proxyColumns, len(n.proxy))]
		row(put, part, x+3, y, midW-6, proxyColumns)
		y += rowH
	}
	if len(n.ztunnel) > 0 {
		y = slots(put, n.ztunnel, ztunnelSlots[:], zHookColumns, hookW, x+3, y)
	}
	row(put, n.inner, x+3, y, midW-6, len(n.inner))
}

// row puts spots beside each other.
func row(put placer, list []*spot, x, y, w, columns int) {
	if columns == 0 {
		return
	}
	each := w / columns
	for i, s := range list {
		s.box = put.at(x+i*each+3, y, each-6, chipH)
		s.Label = label(s.Title, each*10/67)
	}
}

// slots puts hooks into their places, and what is none of them behind, and gives the
// height of the next row.
func slots(put placer, list []*spot, names []string, columns, w, x, y int) int {
	next, last := len(names), -1
	for _, s := range list {
		i := slices.Index(names, s.Label)
		if i < 0 {
			i = next
			next++
		}
		last = max(last, i)
		s.box = put.at(x+i%columns*w+3, y+i/columns*rowH, w-6, chipH)
	}
	return y + (last/columns+1)*rowH
}

// sides puts the devices to pods and to other nodes beside the hooks, and gives the
// height of the next row.
func (n *nodeView) sides(put placer, midX, y int, several bool) int {
	right := midX + midW + columnGap
	for i, s := range n.toPods {
		x, level := midX, i
		if !several && i > 0 {
			x, level = right, i-1
		}
		s.box = put.at(x, y+level*rowH, sideW, chipH)
		s.Label = label(s.Title, 12)
	}
	up := midX + sideW + 2*columnGap + hostColumns*hookW
	for i, s := range n.uplink {
		w := midX + midW - up
		s.box = put.at(up, y+i*rowH, w, chipH)
		s.Label = label(s.Title, w*10/70)
	}
	return y + max(len(n.toPods), len(n.uplink))*rowH
}

// stackPods puts the pods into their columns and gives the lower edge of the lowest.
func (n *nodeView) stackPods(put placer, y int, several bool) int {
	low, counts := 0, [2]int{}
	for i, s := range n.pods {
		x, column := pad, 0
		if !several && i > 0 {
			x, column = pad+podW+columnGap+midW+columnGap+sideW+columnGap, 1
		}
		s.box = put.at(x, y+counts[column]*(podH+pad), podW, podH)
		s.Label = label(afterSlash(s.Title), 21)
		low = max(low, y+counts[column]*(podH+pad)+podH+pad)
		counts[column]++
	}
	return low
}
