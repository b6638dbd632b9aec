// SPDX-License-Identifier: Apache-2.0

package noderoute

// Held are the facts of a node on which these ztunnels drain already, each in its
// slot. It is for whoever reads a node from texts; a node that is listed from the
// kernel knows its slots.
func (f Facts) Held(drains []Drain) Facts {
	for _, d := range drains {
		if d.Slot < 1 || d.Slot > DrainSlots {
			continue
		}
		f.Draining = append(f.Draining, d.Ztunnel)
		f.slots[d.Slot] = slot{owner: d.Ztunnel, used: true}
	}
	return f
}
