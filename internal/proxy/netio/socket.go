// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Source is whose address a connection is opened from.
type Source struct {
	Addr netip.Addr // not this host's own; the socket is made transparent
	Mark uint32     // SO_MARK; 0 sets none
}

// Dial opens a TCP connection to dst; src, where given, is the source that dst
// is to see.
func Dial(ctx context.Context, dst netip.AddrPort, src *Source) (*net.TCPConn, error) {
	var d net.Dialer
	if src != nil {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(src.Addr, 0))
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return control(raw, src.apply)
		}
	}
	c, err := d.DialContext(ctx, "tcp4", dst.String())
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", dst, err)
	}
	return c.(*net.TCPConn), nil
}

// apply sets what binding to a foreign address takes. The port is chosen at
// connect time, so that the 28,000 local ports count per destination.
func (s *Source) apply(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
		return fmt.Errorf("setting IP_TRANSPARENT: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("setting IP_BIND_ADDRESS_NO_PORT: %w", err)
	}
	if s.Mark == 0 {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.Mark)); err != nil {
		return fmt.Errorf("setting SO_MARK: %w", err)
	}
	return nil
}

// OriginalDst is where the connection was sent before it was redirected here.
// netfilter knows it for REDIRECT; a connection that TPROXY handed over carries
// it as its local address, which counts only on a transparent socket. ok is
// false where neither is so.
func OriginalDst(c *net.TCPConn) (dst netip.AddrPort, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, false
	}
	err = control(raw, func(fd int) error {
		// The kernel answers with a sockaddr_in of 16 bytes; this getter is the
		// one of x/sys whose buffer holds that.
		v, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
		if err == nil {
			port := binary.BigEndian.Uint16(v.Multiaddr[2:4])
			dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(v.Multiaddr[4:8])), port)
			return nil
		}
		transparent, err := unix.GetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT)
		if err == nil && transparent == 0 {
			err = errors.New("not a transparent socket")
		}
		return err
	})
	if err != nil {
		return netip.AddrPort{}, false
	}
	if dst.IsValid() {
		return dst, true
	}
	return AddrPort(c.LocalAddr()), true
}

// AddrPort is the address in netip's form, and the zero AddrPort where it is
// not a TCP one.
func AddrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// control runs f on the file descriptor and joins both errors into one.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
