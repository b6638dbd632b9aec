// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// The values that may differ between two runs of the same system.
var (
	indexWord   = regexp.MustCompile(`^[0-9]+:$`)
	counterWord = regexp.MustCompile(`^\[[0-9]+:[0-9]+\]$`)
	macWord     = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)
	peerWord    = regexp.MustCompile(`^(.+@if)[0-9]+:$`)
	vethWord    = regexp.MustCompile(`^veth[0-9a-f]{8}$`)
	deviceWord  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,15}$`)
)

// fixedMACs are part of the meaning, not of the machine.
var fixedMACs = []string{"ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"}

// wordRules is which substitutions hold for one command.
type wordRules struct {
	links    bool // interface indexes, MAC and link-local addresses
	counters bool
	newer    map[string]int // attribute to number of values
}

func (s *Set) wordRules(l *Listing) wordRules {
	r := wordRules{newer: map[string]int{}}
	r.links = strings.HasPrefix(l.Command, "ip -d ")
	r.counters = strings.HasPrefix(l.Command, "iptables-save")
	for _, n := range s.Newer {
		if !strings.HasPrefix(l.Command, n.Command) {
			continue
		}
		if len(n.Listings) > 0 && !slices.Contains(n.Listings, l.Number) {
			continue
		}
		r.newer[n.Attribute] = n.Values
	}
	return r
}

// line reports whether the live line is the listing's, and the bindings of
// device names with those that this line adds.
func (r wordRules) line(want, live []string, names map[string]string) (map[string]string, bool) {
	bound := names
	j := 0
	for i, w := range want {
		for {
			if j >= len(live) {
				return nil, false
			}
			next, ok := r.word(i, w, live[j], bound)
			if ok {
				bound = next
				j++
				break
			}
			values, ok := r.newer[live[j]]
			if !ok {
				return nil, false
			}
			j += 1 + values
		}
	}
	for j < len(live) {
		values, ok := r.newer[live[j]]
		if !ok {
			return nil, false
		}
		j += 1 + values
	}
	return bound, j == len(live)
}

func (r wordRules) word(position int, want, live string, names map[string]string) (map[string]string, bool) {
	if vethWord.MatchString(want) {
		return bind(names, want, live)
	}
	if want == live {
		return names, true
	}
	switch {
	case r.counters && counterWord.MatchString(want):
		return names, counterWord.MatchString(live)
	case !r.links:
		return nil, false
	case position == 0 && indexWord.MatchString(want):
		return names, indexWord.MatchString(live)
	case position == 1 && peerWord.MatchString(want):
		return names, samePeer(want, live)
	case macWord.MatchString(want):
		return names, otherMAC(want, live)
	case strings.HasPrefix(want, "fe80::"):
		return names, otherLinkLocal(want, live)
	}
	return nil, false
}

// bind gives a device of the listing one name of the running system, for good,
// and no two devices the same.
func bind(names map[string]string, want, live string) (map[string]string, bool) {
	if have, ok := names[want]; ok {
		return names, have == live
	}
	if !deviceWord.MatchString(live) {
		return nil, false
	}
	for _, taken := range names {
		if taken == live {
			return nil, false
		}
	}
	bound := maps.Clone(names)
	if bound == nil {
		bound = map[string]string{}
	}
	bound[want] = live
	return bound, true
}

func samePeer(want, live string) bool {
	w, l := peerWord.FindStringSubmatch(want), peerWord.FindStringSubmatch(live)
	return l != nil && w[1] == l[1]
}

func otherMAC(want, live string) bool {
	return macWord.MatchString(live) && !slices.Contains(fixedMACs, want) && !slices.Contains(fixedMACs, live)
}

func otherLinkLocal(want, live string) bool {
	w, err := netip.ParsePrefix(want)
	if err != nil {
		return false
	}
	l, err := netip.ParsePrefix(live)
	return err == nil && l.Addr().IsLinkLocalUnicast() && l.Addr().Is6() && l.Bits() == w.Bits()
}
