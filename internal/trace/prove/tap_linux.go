// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// tap is the far end of one of the namespace's devices: everything behind it.
type tap struct {
	name string
	mac  [6]byte
	fd   int
}

// frame is a packet that left by a device.
type frame struct {
	header
	dev string
	// via is the neighbour that it was sent to; zero for broadcast and multicast.
	via netip.Addr
}

const (
	etherHeader = 14
	etherIPv4   = 0x0800
	etherARP    = 0x0806
)

// openTap makes a device in the thread's namespace.
func openTap(name string, number int) (*tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making device %s: %w", name, err), unix.Close(fd))
	}
	return &tap{name: name, mac: [6]byte{2, 0, 0, 0, 0, byte(number)}, fd: fd}, nil
}

// receive lets a packet come in. Its mark is written into the source address, where
// the first observer takes it from.
func (t *tap) receive(packet []byte, mark uint32) error {
	b := make([]byte, etherHeader, etherHeader+len(packet))
	copy(b, t.mac[:])
	b[6] = 2
	binary.NativeEndian.PutUint32(b[8:], mark)
	binary.BigEndian.PutUint16(b[12:], etherIPv4)
	_, err := unix.Write(t.fd, append(b, packet...))
	if err != nil {
		return fmt.Errorf("writing to %s: %w", t.name, err)
	}
	return nil
}

// read takes what left by the device, and answers for all neighbours. more is
// false when there is nothing left.
func (t *tap) read(buffer []byte) (f frame, packet, more bool, err error) {
	n, err := unix.Read(t.fd, buffer)
	if errors.Is(err, unix.EAGAIN) {
		return frame{}, false, false, nil
	}
	if err != nil {
		return frame{}, false, false, fmt.Errorf("reading from %s: %w", t.name, err)
	}
	b := buffer[:n]
	if len(b) < etherHeader {
		return frame{}, false, true, nil
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case etherARP:
		return frame{}, false, true, t.answer(b)
	case etherIPv4:
		h, err := parse(b[etherHeader:])
		return frame{header: h, dev: t.name, via: neighbour(b[:6])}, true, true, err
	}
	return frame{}, false, true, nil
}

// hardware is the Ethernet address of a neighbour: its IP address stands in it.
func hardware(a netip.Addr) [6]byte {
	b := a.As4()
	return [6]byte{2, 1, b[0], b[1], b[2], b[3]}
}

func neighbour(mac []byte) netip.Addr {
	if mac[0] != 2 || mac[1] != 1 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(mac[2:6]))
}

// answer replies to a question for a neighbour's Ethernet address.
func (t *tap) answer(request []byte) error {
	arp := request[etherHeader:]
	if len(arp) < 28 || binary.BigEndian.Uint16(arp[6:]) != 1 {
		return nil
	}
	asked := netip.AddrFrom4([4]byte(arp[24:28]))
	mac := hardware(asked)
	b := make([]byte, 0, etherHeader+28)
	b = append(b, t.mac[:]...)
	b = append(b, mac[:]...)
	b = binary.BigEndian.AppendUint16(b, etherARP)
	b = append(b, arp[:6]...)
	b = append(b, 0, 2)
	b = append(b, mac[:]...)
	b = append(b, arp[24:28]...)
	b = append(b, t.mac[:]...)
	// The asker's address is left out: the kernel may ask with one in 127.0.0.0/8, and
	// takes no answers to that.
	b = append(b, 0, 0, 0, 0)
	if _, err := unix.Write(t.fd, b); err != nil {
		return fmt.Errorf("answering for neighbour %s on %s: %w", asked, t.name, err)
	}
	return nil
}
