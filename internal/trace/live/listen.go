// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// listener is one netlink socket that hears nf_tables' traces, connection
// tracking's events and the legacy variant's log of traced packets: by one socket
// they keep the order in which they happened.
type listener struct {
	conn   *netlink.Conn
	closed atomic.Bool
	// noLegacy is why legacy rules are not heard; nil where they are.
	noLegacy error
}

// listenBuffer holds what the kernel says before it is read, in bytes.
const listenBuffer = 8 << 20

// openListener listens in the namespace that the thread is in.
func openListener() (*listener, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a netfilter socket: %w", err)
	}
	l := &listener{conn: conn}
	// Asked for first: its answers must not get mixed with events.
	l.noLegacy = l.bindLog()
	errs := []error{conn.SetReadBuffer(listenBuffer)}
	for _, group := range []uint32{unix.NFNLGRP_NFTRACE, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE, unix.NFNLGRP_CONNTRACK_DESTROY} {
		errs = append(errs, conn.JoinGroup(group))
	}
	if err := errors.Join(errs...); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listening to netfilter: %w", err)
	}
	return l, nil
}

// Configuration of a log group (linux/netfilter/nfnetlink_log.h).
const (
	logConfig    = 1 // NFULNL_MSG_CONFIG
	configCmd    = 1
	configMode   = 2
	configThresh = 5
	cmdBind      = 1
	copyPacket   = 2
	// traceGroup is where the legacy variant's traces go: they name no group.
	traceGroup = 0
	// logBytes of a packet are enough for a tunnel's headers and those inside.
	logBytes = 192
)

// bindLog makes this socket the one that gets the packets logged to group 0. There
// is only one such socket in a namespace.
func (l *listener) bindLog() error {
	mode := append(binary.BigEndian.AppendUint32(nil, logBytes), copyPacket, 0)
	for _, a := range []netlink.Attribute{
		{Type: configCmd, Data: []byte{cmdBind}},
		{Type: configMode, Data: mode},
		{Type: configThresh, Data: []byte{0, 0, 0, 1}}, // each at once
	} {
		attrs, err := netlink.MarshalAttributes([]netlink.Attribute{a})
		if err != nil {
			return err
		}
		_, err = l.conn.Execute(netlink.Message{
			Header: netlink.Header{
				Type:  netlink.HeaderType(subsystemLog<<8 | logConfig),
				Flags: netlink.Request | netlink.Acknowledge,
			},
			Data: append([]byte{unix.AF_UNSPEC, 0, 0, traceGroup}, attrs...),
		})
		if errors.Is(err, unix.EBUSY) {
			return errors.New("another process hears netfilter's log group 0")
		}
		if err != nil {
			return fmt.Errorf("binding netfilter's log group 0: %w", err)
		}
	}
	return nil
}

// errLost says that the kernel had more to tell than the socket held.
var errLost = errors.New("events were lost")

// receive hands every event to fn until the listener is closed. It returns how
// often events were lost.
func (l *listener) receive(fn func(Event)) (lost int, err error) {
	for {
		messages, err := l.conn.Receive()
		now := time.Now()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			lost++
			continue
		case err != nil && l.closed.Load():
			return lost, nil
		case err != nil:
			return lost, fmt.Errorf("hearing netfilter: %w", err)
		}
		for _, m := range messages {
			e, ok, err := decodeMessage(uint16(m.Header.Type), uint16(m.Header.Flags), m.Data)
			if err != nil {
				return lost, err
			}
			if ok {
				e.At = now
				fn(e)
			}
		}
	}
}

// lastWords is how long what the kernel has told before the end may still be read.
const lastWords = 50 * time.Millisecond

// finish lets receive end when it has read what was told until now.
func (l *listener) finish() error {
	l.closed.Store(true)
	if err := l.conn.SetReadDeadline(time.Now().Add(lastWords)); err != nil {
		return errors.Join(fmt.Errorf("ending to hear netfilter: %w", err), l.conn.Close())
	}
	return nil
}

func (l *listener) close() error { return l.conn.Close() }
