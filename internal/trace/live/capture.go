// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// capture is a packet socket on every device of a namespace.
type capture struct {
	file    *os.File
	devices map[int]string
	closed  atomic.Bool
}

const (
	captureBuffer = 4 << 20
	// captureBytes of a frame are enough for a tunnel's headers and those inside.
	captureBytes = 256
	// ethernetHeader and what stands before an inner packet in a frame.
	ethernetHeader = 14
	innerInFrame   = ethernetHeader + ipv4Header + innerAt
	// etherTypeAll asks for every protocol, in network byte order.
	etherTypeAll = 0x0300
)

// captureProgram is the socket's filter in the kernel: IPv4 packets from or to a near
// address, and tunnel packets that carry such.
func captureProgram(f *Filter) ([]bpf.Instruction, error) {
	const accept, reject = captureBytes, 0
	var p []bpf.Instruction
	near := func(offset uint32) {
		p = append(p, bpf.LoadAbsolute{Off: offset, Size: 4})
		for _, a := range f.Near {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: addrNumber(a), SkipTrue: 1}, bpf.RetConstant{Val: accept})
		}
	}
	p = append(p, bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherTypeIPv4, SkipTrue: 1}, bpf.RetConstant{Val: reject})
	near(ethernetHeader + offsetSrc)
	near(ethernetHeader + offsetDst)
	if f.TunnelPort != 0 {
		p = append(p, bpf.LoadAbsolute{Off: ethernetHeader + offsetProto, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoUDP, SkipTrue: 1}, bpf.RetConstant{Val: reject},
			bpf.LoadAbsolute{Off: ethernetHeader + ipv4Header + offsetDPort, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(f.TunnelPort), SkipTrue: 1}, bpf.RetConstant{Val: reject})
		near(innerInFrame + offsetSrc)
		near(innerInFrame + offsetDst)
	}
	return append(p, bpf.RetConstant{Val: reject}), nil
}

func addrNumber(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// openCapture captures in the namespace that the thread is in.
func openCapture(f *Filter, devices map[int]string) (*capture, error) {
	// Protocol 0: nothing arrives before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket: %w", err)
	}
	c := &capture{file: os.NewFile(uintptr(fd), "packets"), devices: devices}
	if err := c.prepare(fd, f); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("capturing: %w", err)
	}
	return c, nil
}

func (c *capture) prepare(fd int, f *Filter) error {
	program, err := captureProgram(f)
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: etherTypeAll}),
	)
}

// receive hands every frame to fn until the capture is closed.
func (c *capture) receive(fn func(Event)) error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("reading captured frames: %w", err)
	}
	frame, control := make([]byte, captureBytes), make([]byte, 128)
	for {
		var n, oob int
		var from unix.Sockaddr
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, oob, _, from, readErr = unix.Recvmsg(int(fd), frame, control, 0)
			return !errors.Is(readErr, unix.EAGAIN)
		})
		if c.closed.Load() {
			return nil
		}
		if errors.Is(readErr, unix.ENETDOWN) || errors.Is(readErr, unix.EINTR) {
			continue // a device went away; the others stay
		}
		if err = errors.Join(err, readErr); err != nil {
			return fmt.Errorf("reading captured frames: %w", err)
		}
		if e, ok := c.event(frame[:n], control[:oob], from); ok {
			fn(e)
		}
	}
}

func (c *capture) event(frame, control []byte, from unix.Sockaddr) (Event, bool) {
	link, ok := from.(*unix.SockaddrLinklayer)
	if !ok {
		return Event{}, false
	}
	h, rest, err := parseFrame(frame)
	if err != nil {
		return Event{}, false
	}
	f := &FrameEvent{Device: c.devices[link.Ifindex], Incoming: link.Pkttype != unix.PACKET_OUTGOING, Header: *h}
	if h.Protocol == protoUDP {
		f.Tunnel = parseTunnel(rest)
	}
	return Event{At: timestamp(control), Frame: f}, true
}

// timestamp is when the kernel saw the frame.
func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}

func (c *capture) close() error {
	c.closed.Store(true)
	return c.file.Close()
}
