// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ListenOptions say how a listening socket is made.
type ListenOptions struct {
	// Transparent lets the socket take connections for addresses that are not
	// this host's (IP_TRANSPARENT), as TPROXY hands them over.
	Transparent bool
	Options     []SocketOption
}

// SocketOption is one integer socket option that is set before bind.
type SocketOption struct{ Level, Name, Value int }

// BoundSocket is a socket that has its address but does not listen: peers are
// still refused, and nobody else can take the address.
type BoundSocket struct{ file *os.File }

// Bind makes a TCP socket at addr, which must be IPv4. Accepted sockets inherit
// its options, among them the mark that routes their answers.
func Bind(addr netip.AddrPort, o ListenOptions) (*BoundSocket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, fmt.Errorf("making socket for %s: %w", addr, err)
	}
	b := &BoundSocket{file: os.NewFile(uintptr(fd), "listener "+addr.String())}
	if err := setListenOptions(fd, o); err != nil {
		b.Close()
		return nil, fmt.Errorf("preparing socket for %s: %w", addr, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		b.Close()
		return nil, fmt.Errorf("binding %s: %w", addr, err)
	}
	return b, nil
}

func setListenOptions(fd int, o ListenOptions) error {
	// A restarted proxy is to get the address although connections of the last
	// one are still in TIME_WAIT.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("setting SO_REUSEADDR: %w", err)
	}
	if o.Transparent {
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
			return fmt.Errorf("setting IP_TRANSPARENT: %w", err)
		}
	}
	for _, opt := range o.Options {
		if err := unix.SetsockoptInt(fd, opt.Level, opt.Name, opt.Value); err != nil {
			return fmt.Errorf("setting socket option level %d name %d to %d: %w", opt.Level, opt.Name, opt.Value, err)
		}
	}
	return nil
}

// Listen begins to take connections. It uses b up.
func (b *BoundSocket) Listen() (*net.TCPListener, error) {
	defer b.Close()
	if err := unix.Listen(int(b.file.Fd()), listenBacklog); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", b.file.Name(), err)
	}
	l, err := net.FileListener(b.file)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", b.file.Name(), err)
	}
	return l.(*net.TCPListener), nil
}

// listenBacklog is cut to net.core.somaxconn by the kernel.
const listenBacklog = 65535

// Close gives the address back.
func (b *BoundSocket) Close() error { return b.file.Close() }
