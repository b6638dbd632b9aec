// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/trace"
)

// GIDs of the sockets that probes are sent with. What else the namespace sends it
// made itself.
const (
	probeGIDs    = 40000
	probeGIDsEnd = 40099
)

// listener opens a socket that TPROXY may give packets to. It throws all of them
// away: an answer would be a packet that nobody asked about. Its mark is its port.
func listener(kind int, port uint16) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a listener: %w", err)
	}
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(port)),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing}),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)}),
	)
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("setting up the listener on port %d: %w", port, err), unix.Close(fd))
	}
	return fd, nil
}

// send sends a probe as a local process would that is bound to its source. What
// the kernel refuses is an errno.
func send(p Probe) (refusal unix.Errno, err error) {
	fd, err := sender(p)
	if err != nil {
		return 0, err
	}
	err = unix.Sendto(fd, p.wire(), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: p.Dst.Addr().As4()})
	if errors.As(err, &refusal) {
		err = nil
	}
	return refusal, errors.Join(err, unix.Close(fd))
}

// sender opens the socket. Its owner is whom the thread's file accesses count for.
func sender(p Probe) (int, error) {
	err := as(p.UID, p.GID)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(p.Protocol))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("opening a raw socket: %w", err), as(0, 0))
	}
	options := []error{
		as(0, 0),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_HDRINCL, 1),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.Mark)),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TOS, int(p.TOS)), // the header alone is not what routing sees
		unix.Bind(fd, &unix.SockaddrInet4{Addr: p.Src.Addr().As4()}),
	}
	if p.OIF != "" {
		options = append(options, unix.BindToDevice(fd, p.OIF))
	}
	if err := errors.Join(options...); err != nil {
		return 0, errors.Join(fmt.Errorf("setting up a raw socket from %s: %w", p.Src, err), unix.Close(fd))
	}
	return fd, nil
}

// as lets the thread's next sockets belong to that user and group.
func as(uid, gid uint32) error {
	if _, err := unix.SetfsgidRetGid(int(gid)); err != nil {
		return fmt.Errorf("setting the file group: %w", err)
	}
	if _, err := unix.SetfsuidRetUid(int(uid)); err != nil {
		return fmt.Errorf("setting the file user: %w", err)
	}
	return nil
}

// listening is what the engine is told of a port's listeners.
func listening(port uint16) []trace.Socket {
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	return []trace.Socket{
		{Protocol: unix.IPPROTO_TCP, Local: local, Transparent: true, Mark: uint32(port)},
		{Protocol: unix.IPPROTO_UDP, Local: local, Transparent: true, Mark: uint32(port)},
	}
}
