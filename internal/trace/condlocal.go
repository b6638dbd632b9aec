// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// What --limit-iface-in and --limit-iface-out put into a cond's lo.
const (
	limitIn  = 1
	limitOut = 2
)

// matchesType asks of what kind an address is to this namespace, as the kernel
// does: by the local table alone.
func (r *run) matchesType(c *cond) answer {
	a := r.h.src
	if c.kind == condDestType {
		a = r.h.dst
	}
	dev := ""
	switch c.lo {
	case limitIn:
		dev = r.h.in
	case limitOut:
		dev = r.hookOut
	}
	typ := r.s.addressType(a, dev)
	return answerOf((c.a>>typ&1 == 1) != c.not)
}

// matchesOwner holds only for what a local process sends: a forwarded packet has
// no socket, and then every condition must be a negated one.
func (r *run) matchesOwner(c *cond) answer {
	m := c.match.(iptsave.Owner)
	if len(m.Rest) > 0 {
		return maybe
	}
	if !r.local {
		return answerOf((m.UID == "" || m.NotUID) && (m.GID == "" || m.NotGID) && (!m.SocketExists || m.NotSocket))
	}
	if m.SocketExists && m.NotSocket {
		return no
	}
	uid, gid := inIDs(m.UID, r.pub.UID, m.NotUID), inIDs(m.GID, r.pub.GID, m.NotGID)
	return allOf(uid, gid)
}

func allOf(a, b answer) answer {
	if a == no || b == no {
		return no
	}
	return max(a, b)
}

// inIDs asks whether id is in "1337" or "100-200"; a name is not understood,
// because its number is not in a dump.
func inIDs(word string, id uint32, not bool) answer {
	if word == "" {
		return yes
	}
	first, last, ranged := strings.Cut(word, "-")
	if !ranged {
		last = first
	}
	low, err1 := strconv.ParseUint(first, 10, 32)
	high, err2 := strconv.ParseUint(last, 10, 32)
	if err1 != nil || err2 != nil {
		return maybe
	}
	return answerOf((low <= uint64(id) && uint64(id) <= high) != not)
}

// matchesSocket is xt_socket: a socket that belongs to the packet, connected ones
// before listening ones.
func (r *run) matchesSocket(c *cond) answer {
	m := c.match.(iptsave.Socket)
	if !r.s.cfg.socketsKnown && r.taken == nil && len(r.c.sockets) == 0 {
		return maybe
	}
	sk := r.taken
	if sk == nil {
		sk = r.socket(r.h.dst, r.h.dport, true)
	}
	if sk == nil {
		sk = r.socket(r.h.dst, r.h.dport, false)
	}
	switch {
	case sk == nil:
		return no
	case m.Transparent && !sk.Transparent:
		return no
	case !m.NoWildcard && !sk.Remote.IsValid() && (!sk.Local.Addr().IsValid() || sk.Local.Addr().IsUnspecified()):
		return no
	}
	if m.RestoreMark {
		r.setMark(sk.Mark)
	}
	return yes
}

// matchesPhysDev can be answered only for a packet that no bridge has touched.
func (r *run) matchesPhysDev(c *cond) answer {
	if d := r.s.devices[r.h.in]; r.h.in != "" && (d == nil || d.link == nil || d.link.Kind == "bridge") {
		return maybe
	}
	m := c.match.(iptsave.PhysDev)
	negated := (!m.IsBridged || m.NotIsBridged) && (!m.IsIn || m.NotIsIn) && (!m.IsOut || m.NotIsOut) &&
		(m.In == "" || m.NotIn) && (m.Out == "" || m.NotOut)
	return answerOf(negated)
}

// nth is a counter in the kernel that begins with the rule. How far it has got is
// not in a dump, so it begins with the walk's Conns.
func (r *run) nth(c *cond) bool {
	r.doubt("how far an nth counter has got is not in a dump; it begins with the first packet followed")
	n := r.c.nth[c]
	r.counted = append(r.counted, c)
	for _, earlier := range r.counted[:len(r.counted)-1] {
		if earlier == c {
			n++
		}
	}
	return n%c.a == c.b
}
