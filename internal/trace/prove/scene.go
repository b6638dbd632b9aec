// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"net/netip"
	"slices"
)

// scene is what a world's rules and packets talk about: few things, so that a rule
// asks for what a packet has often enough.
type scene struct {
	dice
	variant string
	links   []Link
	// own are the namespace's addresses, near are neighbours', far are others'.
	own, near, far []netip.Addr
	// behind is the device that a neighbour is behind.
	behind map[netip.Addr]string
	// odd ones are not for hosts: loopback, nothing. casts are broadcast addresses.
	odd   []netip.Addr
	casts []netip.Addr
	nets  []netip.Prefix
	ports []uint16
	marks []mask
	sets  []set
	// tables of routes.
	tables []int
}

// mask is a value with the bits that count.
type mask struct{ value, bits uint32 }

func (m mask) String() string {
	if m.bits == 0xffffffff {
		return fmt.Sprintf("%#x", m.value)
	}
	return fmt.Sprintf("%#x/%#x", m.value, m.bits)
}

type set struct {
	name, kind string
	dimensions int
}

// The marks of the ambient path first: bits that lie in one another.
func marks() []mask {
	return []mask{
		{0x100, 0x100}, {0x200, 0x200}, {0x220, 0x220}, {0x210, 0x210}, {0x40, 0x40},
		{0x400, 0xfff}, {0x401, 0xfff}, {0x4d3, 0xfff}, {0x539, 0xfff}, {0x111, 0xfff},
		{0x4000, 0x4000}, {0x1, 0xffffffff}, {0, 0x100}, {0, 0xffffffff}, {0x80000000, 0xff000000},
	}
}

func newScene(d dice) *scene {
	s := &scene{
		casts: []netip.Addr{netip.MustParseAddr("255.255.255.255")},
		dice:  d, variant: pick(d, "nft", "legacy"), marks: marks(), behind: map[netip.Addr]string{},
		ports:  []uint16{53, 80, 443, 1024, 6081, 8080, 9080, 15001, 15006, 15008, 15088, 32768, 65535},
		tables: []int{100, 101, 102, 103, 104, 105},
	}
	names := []string{"eth0", "eth1", "istioin", "istioout", "veth1a2b3c4d", "cali77", "cbr0"}
	d.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, name := range names[:d.between(2, 5)] {
		s.addLink(i, name)
	}
	for range d.between(3, 6) {
		s.far = append(s.far, pick(d, netip.AddrFrom4([4]byte{8, 8, 8, byte(d.IntN(3))}),
			netip.AddrFrom4([4]byte{172, 16, byte(d.IntN(2)), byte(d.IntN(4))}),
			netip.AddrFrom4([4]byte{10, 96, 0, byte(d.IntN(4))}),
			netip.AddrFrom4([4]byte{10, byte(d.IntN(6)), byte(d.IntN(256)), byte(d.IntN(256))})))
	}
	for _, a := range []string{"127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "240.0.0.9"} {
		s.odd = append(s.odd, netip.MustParseAddr(a))
	}
	for range d.between(3, 8) {
		p, _ := s.host().Prefix(pick(d, 0, 1, 8, 12, 16, 20, 24, 28, 30, 31, 32))
		s.nets = append(s.nets, p)
	}
	for range 3 {
		s.marks = append(s.marks, mask{d.Uint32(), 0xffffffff}, mask{d.Uint32(), d.Uint32()})
	}
	return s
}

func (s *scene) addLink(i int, name string) {
	l := Link{Name: name}
	for n := range pick(s.dice, 0, 1, 1, 1, 1, 1, 2) {
		bits := pick(s.dice, 8, 16, 22, 24, 24, 24, 26, 30, 30, 32)
		net := netip.AddrFrom4([4]byte{10, byte(i), byte(n * 64), 0})
		if bits <= 8 {
			net = netip.AddrFrom4([4]byte{byte(20 + i), 0, byte(n), 0})
		}
		own := later(net, s.between(1, 2))
		l.Addrs = append(l.Addrs, netip.PrefixFrom(own, bits))
		s.own = append(s.own, own)
		for range s.between(1, 3) {
			a := later(net, s.IntN(6))
			s.near = append(s.near, a)
			s.behind[a] = name
		}
		masked := netip.PrefixFrom(own, bits).Masked()
		s.nets = append(s.nets, masked)
		s.odd = append(s.odd, masked.Addr())
		s.casts = append(s.casts, broadcast(masked))
	}
	s.links = append(s.links, l)
	if len(s.near) == 0 {
		s.near = append(s.near, netip.MustParseAddr("10.200.0.1"))
	}
}

func later(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// host is some address that a packet or a rule could have. Broadcasts are left to
// odd: what the namespace itself sends to one comes back to it as well.
func (s *scene) host() netip.Addr {
	for {
		if a := s.any(); !slices.Contains(s.casts, a) {
			return a
		}
	}
}

func (s *scene) any() netip.Addr {
	switch s.IntN(5) {
	case 0, 1:
		return pick(s.dice, s.near...)
	case 2:
		if len(s.own) > 0 {
			return pick(s.dice, s.own...)
		}
	case 3:
		if s.chance(12) {
			return netip.AddrFrom4([4]byte{byte(s.between(1, 223)), byte(s.IntN(256)), byte(s.IntN(256)), byte(s.IntN(256))})
		}
	}
	return pick(s.dice, s.far...)
}

// net is some prefix that a rule or route could have.
func (s *scene) net() netip.Prefix {
	if s.chance(2) {
		return pick(s.dice, s.nets...)
	}
	p, _ := s.host().Prefix(pick(s.dice, 8, 16, 24, 28, 32, 32, 32))
	return p
}

func (s *scene) dev() string { return pick(s.dice, s.links...).Name }

func (s *scene) port() uint16 { return pick(s.dice, s.ports...) }

func (s *scene) mark() mask { return pick(s.dice, s.marks...) }
