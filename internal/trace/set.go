// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// ipset is a set, ready to be asked.
type ipset struct {
	name string
	dims []dimension
	// bits are the prefix lengths that occur, longest first, for the first and the
	// last address; {32} where the type has no prefixes.
	bits, bits2 []int
	// entries tells for each element whether it counts as a member; false stands
	// for nomatch.
	entries map[setKey]bool
	// taken are the nets of a set with devices, whatever their device: where the
	// kernel finds one of them for another device, it looks no further.
	taken map[setKey]bool
	// members of a list:set, in order.
	members []*ipset
	// strange says why the set cannot be asked; "" where it can.
	strange string
	// other is a set for IPv6, which has no IPv4 packet.
	other   bool
	netmask uint32
}

type dimension uint8

const (
	dimIP dimension = iota
	dimNet
	dimPort
	dimMark
	dimIface
)

// setKey is one element: up to two addresses with their length, a port with its
// protocol, a mark or a device.
type setKey struct {
	a, b         uint32
	abits, bbits uint8
	proto        uint8
	port         uint16
	mark         uint32
	iface        string
}

// compileSets reads all sets, then ties list:set to its members.
func compileSets(sets []*setsave.Set) map[string]*ipset {
	all := make(map[string]*ipset, len(sets))
	for _, src := range sets {
		all[src.Name] = compileSet(src)
	}
	for _, src := range sets {
		if src.Type != "list:set" {
			continue
		}
		set := all[src.Name]
		for _, e := range src.Entries {
			if m := all[e.Elem]; m != nil {
				set.members = append(set.members, m)
			} else {
				set.strange = "its member " + e.Elem + " is not in the dump"
			}
		}
	}
	return all
}

func compileSet(src *setsave.Set) *ipset {
	set := &ipset{name: src.Name, netmask: ^uint32(0)}
	if src.Type == "list:set" {
		return set
	}
	if !set.readType(src.Type) {
		set.strange = "sets of type " + src.Type + " are not modelled"
		return set
	}
	if !set.readOptions(src.Options) {
		return set
	}
	set.entries = make(map[setKey]bool, len(src.Entries))
	for _, e := range src.Entries {
		key, ok := set.readElem(e.Elem)
		if !ok {
			set.strange = "its element " + e.Elem + " is not understood"
			return set
		}
		set.entries[key] = !e.NoMatch
		if key.iface != "" {
			set.take(key, e.Options)
		}
		set.bits = addBits(set.bits, int(key.abits))
		set.bits2 = addBits(set.bits2, int(key.bbits))
	}
	return set
}

func (set *ipset) take(key setKey, options string) {
	if slices.Contains(strings.Fields(options), "wildcard") {
		set.strange = "its elements with wildcards are not modelled"
	}
	if set.taken == nil {
		set.taken = map[setKey]bool{}
	}
	key.iface = ""
	set.taken[key] = true
}

func addBits(list []int, bits int) []int {
	if slices.Contains(list, bits) {
		return list
	}
	list = append(list, bits)
	slices.SortFunc(list, func(a, b int) int { return b - a })
	return list
}

func (set *ipset) readType(typ string) bool {
	_, dims, ok := strings.Cut(typ, ":")
	if !ok {
		return false
	}
	for dim := range strings.SplitSeq(dims, ",") {
		switch dim {
		case "ip":
			set.dims = append(set.dims, dimIP)
		case "net":
			set.dims = append(set.dims, dimNet)
		case "port":
			set.dims = append(set.dims, dimPort)
		case "mark":
			set.dims = append(set.dims, dimMark)
		case "iface":
			set.dims = append(set.dims, dimIface)
		default:
			return false
		}
	}
	return true
}

// readOptions looks for what changes the meaning of an element.
func (set *ipset) readOptions(options string) bool {
	words := strings.Fields(options)
	for i, w := range words {
		switch w {
		case "inet6":
			set.other = true
			return false
		case "netmask":
			if n, err := strconv.Atoi(words[min(i+1, len(words)-1)]); err == nil {
				set.netmask = maskOf(n)
			}
		case "bitmask", "markmask":
			set.strange = "its " + w + " is not modelled"
			return false
		}
	}
	return true
}

func (set *ipset) readElem(elem string) (setKey, bool) {
	key, addrs := setKey{}, 0
	words := strings.Split(elem, ",")
	if len(words) != len(set.dims) {
		return key, false
	}
	for i, dim := range set.dims {
		switch dim {
		case dimIP, dimNet:
			a, bits, ok := readNet(words[i])
			if !ok {
				return key, false
			}
			if addrs == 0 {
				key.a, key.abits = a, bits
			} else {
				key.b, key.bbits = a, bits
			}
			addrs++
		case dimPort:
			var ok bool
			if key.proto, key.port, ok = readSetPort(words[i]); !ok {
				return key, false
			}
		case dimMark:
			n, err := strconv.ParseUint(words[i], 0, 32)
			if err != nil {
				return key, false
			}
			key.mark = uint32(n)
		case dimIface:
			if strings.HasPrefix(words[i], "physdev:") {
				return key, false
			}
			key.iface = words[i]
		}
	}
	return key, true
}

func readNet(word string) (a uint32, bits uint8, ok bool) {
	bits = 32
	if host, length, cut := strings.Cut(word, "/"); cut {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || n > 32 {
			return 0, 0, false
		}
		word, bits = host, uint8(n)
	}
	parsed, err := netip.ParseAddr(word)
	if err != nil || !parsed.Is4() {
		return 0, 0, false
	}
	a, _ = number(parsed)
	return a & maskOf(int(bits)), bits, true
}

// readSetPort reads "tcp:80", "80", "icmp:echo-request" or "47:0".
func readSetPort(word string) (proto uint8, port uint16, ok bool) {
	name, number, cut := strings.Cut(word, ":")
	if !cut {
		name, number = "", word
	}
	proto, known := protocols[name]
	if !known {
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil {
			return 0, 0, false
		}
		proto = uint8(n)
	}
	if proto == protoICMP {
		port, ok = icmpNames[number]
		if ok {
			return proto, port, true
		}
		typ, code, _ := strings.Cut(number, "/")
		t, err1 := strconv.ParseUint(typ, 10, 8)
		c, err2 := strconv.ParseUint(code, 10, 8)
		return proto, uint16(t<<8 | c), err1 == nil && err2 == nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	return proto, uint16(n), err == nil
}

// contains asks whether the packet, seen in the given directions, is a member.
func (set *ipset) contains(h *header, dirs []bool) answer {
	switch {
	case set.other:
		return no
	case set.strange != "":
		return maybe
	}
	if set.members != nil || set.dims == nil {
		return set.listContains(h, dirs)
	}
	if len(dirs) < len(set.dims) {
		return no
	}
	key, second, b := setKey{}, false, uint32(0)
	var a uint32
	for i, dim := range set.dims {
		src := dirs[i]
		switch dim {
		case dimIP, dimNet:
			v := h.dst
			if src {
				v = h.src
			}
			if second {
				b = v
			} else {
				a = v & set.netmask
			}
			second = true
		case dimPort:
			if !set.keyPort(&key, h, src) {
				return no
			}
		case dimMark:
			key.mark = h.mark
		case dimIface:
			key.iface = h.out
			if src {
				key.iface = h.in
			}
		}
	}
	return set.find(key, a, b)
}

// keyPort is false where the set cannot hold the packet's protocol.
func (set *ipset) keyPort(key *setKey, h *header, src bool) bool {
	key.proto = h.proto
	switch {
	case h.proto == protoICMP:
		key.port = uint16(h.icmpType)<<8 | uint16(h.icmpCode)
	case !hasPorts(h.proto):
	case src:
		key.port = h.sport
	default:
		key.port = h.dport
	}
	if len(set.dims) == 1 { // bitmap:port has no protocol in its elements
		key.proto = 0
		return h.proto == protoTCP || h.proto == protoUDP
	}
	return true
}

// find tries the prefix lengths, longest first, as the kernel does: the first
// element found decides, also a nomatch.
func (set *ipset) find(key setKey, a, b uint32) answer {
	for _, bits := range set.bits {
		key.a, key.abits = a&maskOf(bits), uint8(bits)
		for _, bits2 := range set.bits2 {
			key.b, key.bbits = b&maskOf(bits2), uint8(bits2)
			if member, ok := set.entries[key]; ok {
				return answerOf(member)
			}
			if set.taken != nil {
				net := key
				if net.iface = ""; set.taken[net] {
					return no
				}
			}
		}
	}
	return no
}

func (set *ipset) listContains(h *header, dirs []bool) answer {
	result := no
	for _, m := range set.members {
		switch m.contains(h, dirs) {
		case yes:
			if result == no {
				return yes
			}
		case maybe:
			result = maybe
		}
	}
	return result
}

// problem says why a set cannot be asked; for a list, the member that can't.
func (set *ipset) problem() string {
	for _, m := range set.members {
		if m.strange != "" {
			return "its member " + m.name + ": " + m.strange
		}
	}
	return set.strange
}
