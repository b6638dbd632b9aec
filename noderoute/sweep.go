// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/ipset"
)

// sweep is one walk over the connections that the kernel tracks. It gives a slot to
// those of the ztunnel that is replaced, or takes slots away that nobody has.
type sweep struct {
	begins Drain        // the zero Drain where nothing begins
	taken  map[int]bool // slots that somebody has: their connections keep them
	pods   map[netip.Addr]bool
	host   netip.Addr
	local  map[netip.Addr]bool // the node's own addresses; read when it is made
}

// String says what it does.
func (w *sweep) String() string {
	if w.begins.Slot != 0 {
		return fmt.Sprintf("conntrack: mark open connections of ztunnel %s with %s", w.begins.IP, mask(w.begins.mark(), DrainMask))
	}
	return "conntrack: unmark connections of ztunnels that do not drain any more"
}

// sweep gives the connections of the ztunnel that is replaced its slot; nil where
// none begins to drain.
func (p Plan) sweep(l *listing) *sweep {
	if p.begins.Slot == 0 {
		return nil
	}
	w := &sweep{begins: p.begins, taken: map[int]bool{}, pods: map[netip.Addr]bool{}, host: p.host}
	// Of those that end now, one may be the ztunnel that is active again.
	for _, d := range slices.Concat(p.Drains, p.ending) {
		w.taken[d.Slot] = true
	}
	if l.set != nil {
		w.addPods(l.set.Entries)
	}
	if p.Set != nil {
		w.addPods(p.Set.Entries)
	}
	return w
}

func (w *sweep) addPods(entries []ipset.Entry) {
	for _, e := range entries {
		w.pods[e.IP] = true
	}
}

// release takes the slots away that end; nil where none does.
func (p Plan) release() *sweep {
	if len(p.ending) == 0 {
		return nil
	}
	w := &sweep{taken: map[int]bool{}}
	for _, d := range p.Drains {
		w.taken[d.Slot] = true
	}
	return w
}

// flow is a tracked connection, as far as it matters here.
type flow struct {
	src  netip.Addr // who opened it
	peer netip.Addr // who answers, after any translation of addresses
	tcp  bool
	open bool // answered, and not closed by both
	mark uint32
	// What names it to the kernel.
	tuple, zone []byte
}

// mark is the drain slot's part of a connection's mark as it is to be.
func (w *sweep) mark(f flow) uint32 {
	now := f.mark & DrainMask
	if w.taken[slotOf(now)] {
		return now
	}
	if w.begins.Slot != 0 && w.carries(f) {
		return w.begins.mark()
	}
	return 0
}

// carries tells whether a connection goes through the ztunnel that is replaced: it
// was opened by ztunnel with a pod's address, or it is from or to a captured pod and
// is not skipped. One that is not answered yet says so by its answer's way, and one
// that both sides have closed needs nobody.
func (w *sweep) carries(f flow) bool {
	switch {
	case !f.tcp, !f.open:
		return false
	case f.mark&ConnSkipMask == ConnSkipMark:
		return false
	case f.mark&ProxyMask == ProxyMark:
		return true
	case f.mark&SkipMask != 0:
		return false
	}
	return w.pods[f.src] && !w.local[f.peer] || w.pods[f.peer] && f.src != w.host
}
