// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// shownBy says which packet would show a fault that the calls do not, or why none
// would.
func (c Case) shownBy() string {
	for _, by := range []func(Case) string{shownInPlace, shownByMark, shownByChain, shownByRest} {
		if text := by(c); text != "" {
			return text
		}
	}
	return "Other packets than theirs would show it."
}

// shownInPlace is about faults that no packet shows where they are.
func shownInPlace(c Case) string {
	switch {
	case c.Place == "mangle/POSTROUTING":
		return "The chain is empty, as in 2022; nothing depends on it."
	case c.Place == "mangle/OUTPUT" && c.Kind == nodediff.Moved:
		return "The rule in front of it only drops packets from 169.254.169.254."
	case c.Kind == nodediff.Moved && (c.Place == "mangle/ztunnel-FORWARD" || c.Place == "mangle/ztunnel-INPUT"):
		return "Only a packet with both marks would show it, and no rule makes one."
	case c.Place == "table 102" && strings.HasPrefix(c.Line, "10."):
		return "The default route of this table leads the same way."
	case strings.Contains(c.What, "UID"):
		return "The kernel asks for the address alone. It matters when the address goes to another pod: its owner is not known any more."
	case c.Place == "mangle/PREROUTING" && c.Kind == nodediff.Moved && c.Space == dump.ZtunnelSpace:
		return "The rule for tunnels must come before the one for plain TCP; the others ask for different devices and do not depend on one another."
	}
	return ""
}

// shownByMark is about faults in marks that only packets show which carry more.
func shownByMark(c Case) string {
	switch {
	case c.Field == "set-xmark mask":
		return "A packet that carries somebody else's mark bits shows it: they are lost."
	case c.Field == "mark mask", c.Field == "connmark mask", c.Field == "fwmark mask":
		return "A packet that carries other mark bits as well shows it: it does not match any more."
	case c.Field == "tproxy-mark mask":
		return "A packet that is marked already shows it: its bits get into the mark that the rules behind ask for."
	case c.Field == "ctmask":
		return "A connection that is marked already shows it: the bits of old and new are mixed."
	case c.Field == "target" && strings.HasSuffix(c.What, "ACCEPT"):
		return "Others' rules behind the jump in mangle/PREROUTING show it: they do not see the packet."
	}
	return ""
}

// shownByChain is about chains that see only some packets.
func shownByChain(c Case) string {
	switch c.Place {
	case "nat/POSTROUTING", "nat/ztunnel-POSTROUTING":
		return "A captured packet shows it on a node that masquerades what leaves for other networks (the lab's does not): it would get the node's address."
	case "mangle/INPUT", "mangle/ztunnel-INPUT":
		return "A connection that ends on the node itself shows it, when its answers leave: a skipped one's, or that of a ztunnel which calls the node with a pod's address."
	case "mangle/ztunnel-PREROUTING":
		switch c.At {
		case 2, 4:
			return "The packet carries 0x200 already, and rule 7 ends the chain for it."
		case 7, 9, 11, 14:
			return "What the rules behind do to such a packet makes no difference to these calls; a connection that changes sides (skipped once, captured before) would show it."
		}
		return "The mark that it leaves makes no difference to the routes of these calls."
	case "mangle/PREROUTING":
		return "The mark that it leaves makes no difference to the routes of these calls."
	}
	return ""
}

// shownByRest is about settings.
func shownByRest(c Case) string {
	switch {
	case strings.Contains(c.Place, ".default."):
		return "Devices that come later show it: a pod's veth, a tunnel made anew."
	case strings.HasSuffix(c.Place, ".rp_filter"):
		return "What comes in by this device has its way back by the same device; a packet that has not would show it."
	case strings.HasSuffix(c.Place, ".accept_local"):
		return "A packet that comes in here with an address of the node itself shows it, as when the node's own call was led through ztunnel."
	}
	return ""
}
