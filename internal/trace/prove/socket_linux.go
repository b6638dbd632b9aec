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

// send sends a probe as a local process would that is bound to its source, or to
// none. What the kernel refuses is an errno.
func send(p Probe) (refusal unix.Errno, err error) {
	if p.sourceless() {
		return sendFromAnywhere(p)
	}
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

// sendFromAnywhere sends a UDP packet, or a SYN, from an ordinary socket.
func sendFromAnywhere(p Probe) (refusal unix.Errno, err error) {
	kind := unix.SOCK_DGRAM
	if p.Protocol == unix.IPPROTO_TCP {
		kind = unix.SOCK_STREAM
	}
	fd, err := open(p, kind|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(p.Src.Port())}),
	)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("setting up a socket: %w", err), unix.Close(fd))
	}
	to := &unix.SockaddrInet4{Addr: p.Dst.Addr().As4(), Port: int(p.Dst.Port())}
	if kind == unix.SOCK_STREAM {
		err = unix.Connect(fd, to)
		// Closing alone may not end it at once: a program that is being started for
		// another world has the socket, too, until it runs.
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	} else {
		err = unix.Sendto(fd, nil, 0, to)
	}
	if errors.As(err, &refusal) {
		err = nil
	}
	if refusal == unix.EINPROGRESS {
		refusal = 0
	}
	return refusal, errors.Join(err, unix.Close(fd))
}

// sender opens a raw socket.
func sender(p Probe) (int, error) {
	fd, err := open(p, unix.SOCK_RAW, int(p.Protocol))
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_HDRINCL, 1),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: p.Src.Addr().As4()}),
	)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("setting up a raw socket from %s: %w", p.Src, err), unix.Close(fd))
	}
	return fd, nil
}

// open opens a socket with the probe's owner, mark and device. Its owner is whom the thread's file accesses count for.
func open(p Probe, kind, protocol int) (int, error) {
	err := as(p.UID, p.GID)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("opening a socket: %w", err), as(0, 0))
	}
	err = errors.Join(
		as(0, 0),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.Mark)),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TOS, int(p.TOS)),
	)
	if p.OIF != "" {
		err = errors.Join(err, unix.BindToDevice(fd, p.OIF))
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("setting up a socket: %w", err), unix.Close(fd))
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
