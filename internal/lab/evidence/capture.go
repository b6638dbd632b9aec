// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// Tap captures every frame that passes a device, in both directions.
type Tap struct {
	Device string
	fd     int
}

const (
	// tapBuffer holds the frames until Drain, in bytes; what does not fit is
	// counted and makes Drain fail.
	tapBuffer = 16 << 20
	// longestFrame is more than a frame can have before segmentation.
	longestFrame = 128 << 10
	// etherTypeAll asks for every protocol, in network byte order.
	etherTypeAll = 0x0300
)

// OpenTap starts capturing on a device in a namespace. From its return on no
// frame is missed.
func OpenTap(namespace, device string) (*Tap, error) {
	t := &Tap{Device: device}
	err := netns.Do(namespace, t.open)
	if err != nil {
		return nil, fmt.Errorf("capturing on %s in %s: %w", device, namespace, err)
	}
	return t, nil
}

func (t *Tap) open() error {
	link, err := net.InterfaceByName(t.Device)
	if err != nil {
		return err
	}
	// Protocol 0: nothing arrives before the socket is bound to the device.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: etherTypeAll, Ifindex: link.Index}),
	)
	if err != nil {
		unix.Close(fd)
		return err
	}
	t.fd = fd
	return nil
}

// Drain returns the frames captured so far. It fails where the kernel had to
// drop any: evidence that something is absent needs every frame.
func (t *Tap) Drain() ([][]byte, error) {
	var frames [][]byte
	buf := make([]byte, longestFrame)
	for {
		n, _, err := unix.Recvfrom(t.fd, buf, unix.MSG_TRUNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading frames of %s: %w", t.Device, err)
		}
		if n > len(buf) {
			return nil, fmt.Errorf("reading frames of %s: a frame of %d bytes", t.Device, n)
		}
		frames = append(frames, append([]byte(nil), buf[:n]...))
	}
	stats, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return nil, fmt.Errorf("reading the statistics of %s: %w", t.Device, err)
	}
	if stats.Drops > 0 {
		return nil, fmt.Errorf("reading frames of %s: the kernel dropped %d", t.Device, stats.Drops)
	}
	return frames, nil
}

// Close stops capturing.
func (t *Tap) Close() error {
	if err := unix.Close(t.fd); err != nil {
		return fmt.Errorf("closing the capture on %s: %w", t.Device, err)
	}
	return nil
}
