// SPDX-License-Identifier: Apache-2.0

package live

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump/iproute"
)

// Asked is what the kernel answers when asked for the route of a packet. It is asked,
// not observed: nothing tells which route a packet took.
type Asked struct {
	Route iproute.Route
	Err   error // why there is none: ENETUNREACH, EXDEV (refused source), ...
}

// Refused reports whether the kernel refuses the source address (rp_filter,
// accept_local, martians).
func (a *Asked) Refused() bool { return errors.Is(a.Err, unix.EXDEV) || errors.Is(a.Err, unix.EINVAL) }

// Unasked reports whether nobody answered, because the namespace could not be entered.
func (a *Asked) Unasked() bool { return errors.Is(a.Err, errUnasked) }

var errUnasked = errors.New("the kernel could not be asked")

// question is a packet at the point where it is routed.
type question struct {
	header Header
	mark   uint32
	in     string // "" for a packet sent here
}

// routes asks the kernel, of one namespace.
type routes interface {
	ask(question) Asked
}

// kernelRoutes asks the kernel of a namespace.
type kernelRoutes struct{ space Space }

func (k kernelRoutes) ask(q question) Asked {
	var a Asked
	if err := k.space.Do(func() error { a = askHere(q); return nil }); err != nil {
		return Asked{Err: fmt.Errorf("%w: %w", errUnasked, err)}
	}
	return a
}

func askHere(q question) Asked {
	o := &netlink.RouteGetOptions{Iif: q.in, Mark: q.mark, FIBMatch: true, SrcAddr: net.IP(q.header.Src.Addr().AsSlice())}
	if q.header.Src.Addr().IsUnspecified() {
		o.SrcAddr = nil
	}
	dst := net.IP(q.header.Dst.Addr().AsSlice())
	found, err := netlink.RouteGetWithOptions(dst, o)
	if err != nil && q.in == "" {
		// A transparent socket sends from addresses that are not the namespace's; who
		// only asks must leave such a source out.
		o.SrcAddr = nil
		found, err = netlink.RouteGetWithOptions(dst, o)
	}
	if err != nil {
		return Asked{Err: err}
	}
	if len(found) == 0 {
		return Asked{Err: unix.ENETUNREACH}
	}
	return Asked{Route: asDumped(&found[0])}
}

// asDumped is a route of the kernel as a dump has it.
func asDumped(r *netlink.Route) iproute.Route {
	out := iproute.Route{Type: "unicast", Table: uint32(r.Table), Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	switch r.Type {
	case unix.RTN_LOCAL:
		out.Type = "local"
	case unix.RTN_BROADCAST:
		out.Type = "broadcast"
	case unix.RTN_MULTICAST:
		out.Type = "multicast"
	}
	if r.Dst != nil {
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok {
			ones, _ := r.Dst.Mask.Size()
			out.Dst = netip.PrefixFrom(a, ones)
		}
	}
	if a, ok := netip.AddrFromSlice(r.Gw.To4()); ok {
		out.Via = a
	}
	if a, ok := netip.AddrFromSlice(r.Src.To4()); ok {
		out.Src = a
	}
	if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
		out.Dev = link.Attrs().Name
	}
	return out
}
