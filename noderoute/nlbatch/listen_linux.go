// SPDX-License-Identifier: Apache-2.0

package nlbatch

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrOverflow says that the kernel had more events than the socket could hold:
// some are lost, and nobody knows which.
var ErrOverflow = errors.New("events were lost")

// Listen opens a socket that receives the events of the given multicast groups
// of a netlink family.
func Listen(family int, groups ...int) (*Conn, error) {
	c, err := Dial(family)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return nil, errors.Join(fmt.Errorf("listening to netlink group %d: %w", g, err), c.Close())
		}
	}
	return c, nil
}

// FD is the socket's file descriptor, to wait for events with poll(2).
func (c *Conn) FD() int { return c.fd }

// Events calls each for all events that have come, without waiting for more.
// After ErrOverflow it may be called again for those that came later.
func (c *Conn) Events(each func(Message)) error {
	for {
		err := c.read(unix.MSG_TRUNC|unix.MSG_DONTWAIT, func(m Message) error {
			each(m)
			return nil
		})
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			return fmt.Errorf("%w: %w", ErrOverflow, err)
		case err != nil:
			return err
		}
	}
}
