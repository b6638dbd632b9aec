// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// netlink is a socket of the thread's namespace. It is read without waiting, which
// the libraries don't offer.
type netlink struct {
	fd     int
	seq    uint32
	buffer []byte
}

const (
	netlinkHeader   = unix.SizeofNlMsghdr
	netfilterHeader = 4 // family, version, resource id
	receiveBuffer   = 8 << 20
)

func openNetlink(protocol int) (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("opening netlink socket: %w", err)
	}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("setting up netlink socket: %w", err), unix.Close(fd))
	}
	return &netlink{fd: fd, buffer: make([]byte, 1<<16)}, nil
}

// send sends one message: its type and flags, and what follows the header.
func (n *netlink) send(kind, flags uint16, body []byte) error {
	n.seq++
	b := make([]byte, 0, netlinkHeader+len(body))
	b = binary.NativeEndian.AppendUint32(b, uint32(netlinkHeader+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, n.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, body...)
	if err := unix.Sendto(n.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sending netlink message: %w", err)
	}
	return nil
}

// message is one answer; its bytes are good until the next receive.
type message struct {
	kind uint16
	body []byte
}

// receive takes the messages of one datagram. Without wait, none is no error.
func (n *netlink) receive(wait bool) ([]message, error) {
	flags := unix.MSG_DONTWAIT
	if wait {
		flags = 0
	}
	size, _, err := unix.Recvfrom(n.fd, n.buffer, flags)
	if errors.Is(err, unix.EAGAIN) && !wait {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("receiving from netlink: %w", err)
	}
	var list []message
	for b := n.buffer[:size]; len(b) >= netlinkHeader; {
		length := int(binary.NativeEndian.Uint32(b))
		if length < netlinkHeader || length > len(b) {
			return nil, errShort
		}
		list = append(list, message{kind: binary.NativeEndian.Uint16(b[4:]), body: b[netlinkHeader:length]})
		b = b[min(align(length), len(b)):]
	}
	return list, nil
}

// ask sends a question and waits for its one answer. An error of the kernel's is
// an errno.
func (n *netlink) ask(kind, flags uint16, body []byte) (message, error) {
	if err := n.send(kind, flags, body); err != nil {
		return message{}, err
	}
	list, err := n.receive(true)
	if err != nil {
		return message{}, err
	}
	if len(list) == 0 {
		return message{}, errShort
	}
	if m := list[0]; m.kind != unix.NLMSG_ERROR {
		return m, nil
	} else if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 {
		return message{}, unix.Errno(-code)
	}
	return message{}, nil
}

// attribute appends one, padded.
func attribute(b []byte, kind uint16, value ...byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

const attributeFlags = 0xc000 // nested, network byte order

// attributes calls f for each.
func attributes(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^attributeFlags, b[4:length])
		b = b[min(align(length), len(b)):]
	}
}

func align(n int) int { return (n + 3) &^ 3 }
