// SPDX-License-Identifier: Apache-2.0

package nlbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// One sendmsg carries at most this many requests and bytes. The kernel
	// answers while it works, so what it may answer has to fit the socket's
	// receive buffer: a route lookup answers with a 4 KiB buffer of its own.
	maxRequests = 256
	maxBytes    = 64 << 10

	// How often a dump is made again on a node where something always changes.
	maxAttempts = 32

	receiveBuffer = 8 << 20
	sendBuffer    = 1 << 20
	bufferSize    = 128 << 10

	// A request that the kernel took is answered before sendmsg returns; the
	// time-out only guards against waiting for ever on a broken kernel.
	answerTimeout = 10 * time.Second
)

// Conn is a netlink socket in the network namespace of the thread that opened
// it. It is not safe for concurrent use.
type Conn struct {
	fd   int
	port uint32
	seq  uint32
	buf  []byte
}

// Dial opens a socket of the given netlink family (unix.NETLINK_ROUTE,
// unix.NETLINK_NETFILTER).
func Dial(family int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, fmt.Errorf("opening netlink socket: %w", err)
	}
	port, err := bind(fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("binding netlink socket: %w", err), unix.Close(fd))
	}
	// Best effort: without CAP_NET_ADMIN the buffers stay at the default, and
	// kernels before 4.12 and 4.20 know neither extended errors nor strict
	// dumps; callers filter what they list anyway.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	tv := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, errors.Join(fmt.Errorf("setting netlink time-out: %w", err), unix.Close(fd))
	}
	return &Conn{fd: fd, port: port, buf: make([]byte, bufferSize)}, nil
}

// bind gives the socket a random port number. Numbers that the kernel hands out
// begin with the process's id, which other processes, in other process
// namespaces, have as well; events that name a random one tell whose they are.
func bind(fd int) (port uint32, err error) {
	for range maxAttempts {
		port = rand.Uint32() | 1<<31
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return port, err
}

// Port is the socket's port number. The kernel's events about what this socket
// changed name it as Message.Port.
func (c *Conn) Port() uint32 { return c.port }

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Failure is one request of a batch that the kernel refused.
type Failure struct {
	Index int   // position in the batch
	Err   error // an *Error
}

// Error is the kernel's answer to a refused request.
type Error struct {
	Errno   unix.Errno
	Message string // the kernel's own words, where it has any
	Request []byte // the refused request as the kernel echoed it; some families mark the place in it
}

// Error returns the errno's text and the kernel's words.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + " (" + e.Message + ")"
}

// Unwrap makes errors.Is work on errnos.
func (e *Error) Unwrap() error { return e.Errno }

// Message is one answer of the kernel.
type Message struct {
	Type uint16
	Seq  uint32
	Port uint32 // of an event: the socket that asked for the change, 0 where the kernel does not say
	Data []byte // after the netlink header

	// Interrupted says that what a dump lists changed since it began.
	Interrupted bool
}

// Send hands the batch to the kernel and waits until all of it was handled.
// The failures tell which requests were refused; the others took effect. The
// error is about the socket itself.
func (c *Conn) Send(b *Batch) ([]Failure, error) {
	return c.exchange(b, func(int, Message) error { return nil })
}

// Query sends requests that the kernel answers with one message each (or
// refuses) and calls answer with the index of the request.
func (c *Conn) Query(b *Batch, answer func(index int, m Message) error) ([]Failure, error) {
	return c.exchange(b, answer)
}

func (c *Conn) exchange(b *Batch, answer func(int, Message) error) ([]Failure, error) {
	var failures []Failure
	for from := 0; from < b.Len(); {
		to, size := from, 0
		for to < b.Len() && to-from < maxRequests && (to == from || size+len(b.message(to)) <= maxBytes) {
			size += len(b.message(to))
			to++
		}
		base := c.seq + 1
		for i := from; i < to; i++ {
			c.seq++
			binary.NativeEndian.PutUint32(b.message(i)[8:], c.seq)
		}
		answered := to
		if to == b.Len() {
			answered -= b.Trailers
		}
		last := b.message(answered - 1)
		flags := binary.NativeEndian.Uint16(last[6:])
		binary.NativeEndian.PutUint16(last[6:], flags|unix.NLM_F_ACK)
		if err := c.send(b.buf[b.starts[from] : b.starts[from]+size]); err != nil {
			return failures, err
		}
		failed, err := c.collect(base, base+uint32(answered-from)-1, from, answer)
		failures = append(failures, failed...)
		if err != nil {
			return failures, err
		}
		from = to
	}
	return failures, nil
}

// collect reads answers until the request with sequence number last is done.
func (c *Conn) collect(base, last uint32, from int, answer func(int, Message) error) ([]Failure, error) {
	var failures []Failure
	var firstErr error
	for done := false; !done; {
		err := c.receive(func(m Message) error {
			if m.Seq < base || m.Seq > last {
				return nil // a late answer to an earlier, abandoned exchange
			}
			index := from + int(m.Seq-base)
			switch m.Type {
			case unix.NLMSG_ERROR:
				if err := parseError(m); err != nil {
					failures = append(failures, Failure{Index: index, Err: err})
				}
				done = done || m.Seq == last
			case unix.NLMSG_DONE:
				done = done || m.Seq == last
			default:
				if err := answer(index, m); err != nil && firstErr == nil {
					firstErr = err
				}
			}
			return nil
		})
		if err != nil {
			return failures, err
		}
	}
	return failures, firstErr
}

// Dump sends the single request of b as a dump and calls each for every
// message the kernel lists. Where the kernel says that what it listed changed
// meanwhile, the dump is made again, and start is called at the beginning of
// every attempt.
func (c *Conn) Dump(b *Batch, start func(), each func(m Message) error) error {
	for range maxAttempts {
		start()
		if err := c.dump(b.message(0), each); !errors.Is(err, ErrInterrupted) {
			return err
		}
	}
	return ErrInterrupted
}

func (c *Conn) dump(request []byte, each func(m Message) error) error {
	c.seq++
	binary.NativeEndian.PutUint32(request[8:], c.seq)
	flags := binary.NativeEndian.Uint16(request[6:])
	binary.NativeEndian.PutUint16(request[6:], flags|unix.NLM_F_DUMP)
	if err := c.send(request); err != nil {
		return err
	}
	seq := c.seq
	var result error
	// The dump is read to its end in any case: the socket takes no other
	// request before.
	for done := false; !done; {
		err := c.receive(func(m Message) error {
			if m.Seq != seq {
				return nil
			}
			switch m.Type {
			case unix.NLMSG_DONE:
				done = true
				result = errors.Join(result, parseDone(m))
			case unix.NLMSG_ERROR:
				done = true
				result = errors.Join(result, parseError(m))
			default:
				if result == nil {
					result = each(m)
				}
			}
			if m.Interrupted && !errors.Is(result, ErrInterrupted) {
				result = errors.Join(ErrInterrupted, result)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return result
}

// parseDone reads the error number that may stand behind a dump's end.
func parseDone(m Message) error {
	if len(m.Data) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(m.Data)); n < 0 {
		return &Error{Errno: unix.Errno(-n)}
	}
	return nil
}

func (c *Conn) send(p []byte) error {
	if err := unix.Sendto(c.fd, p, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sending netlink requests: %w", err)
	}
	return nil
}

// ErrInterrupted says that what was listed kept changing while it was listed.
var ErrInterrupted = errors.New("the kernel's tables changed while they were listed")

// receive reads one buffer and calls each for every message in it.
func (c *Conn) receive(each func(Message) error) error {
	return c.read(unix.MSG_TRUNC, each)
}

func (c *Conn) read(flags int, each func(Message) error) error {
	n, _, err := unix.Recvfrom(c.fd, c.buf, flags)
	for errors.Is(err, unix.EINTR) {
		n, _, err = unix.Recvfrom(c.fd, c.buf, flags)
	}
	if err != nil {
		return fmt.Errorf("reading netlink answers: %w", err)
	}
	if n > len(c.buf) {
		return fmt.Errorf("reading netlink answers: a message of %d bytes does not fit", n)
	}
	for p := c.buf[:n]; len(p) >= unix.NLMSG_HDRLEN; {
		size := int(binary.NativeEndian.Uint32(p))
		if size < unix.NLMSG_HDRLEN || size > len(p) {
			return fmt.Errorf("reading netlink answers: a message claims %d of %d bytes", size, len(p))
		}
		m := Message{
			Type: binary.NativeEndian.Uint16(p[4:]),
			Seq:  binary.NativeEndian.Uint32(p[8:]),
			Port: binary.NativeEndian.Uint32(p[12:]),
			Data: p[unix.NLMSG_HDRLEN:size],

			Interrupted: binary.NativeEndian.Uint16(p[6:])&unix.NLM_F_DUMP_INTR != 0,
		}
		if err := each(m); err != nil {
			return err
		}
		p = p[min(align(size), len(p)):]
	}
	return nil
}

// parseError reads struct nlmsgerr; nil means acknowledged.
func parseError(m Message) error {
	if len(m.Data) < 4 {
		return &Error{Errno: unix.EPROTO}
	}
	code := int32(binary.NativeEndian.Uint32(m.Data))
	if code == 0 {
		return nil
	}
	e := &Error{Errno: unix.Errno(-code)}
	if len(m.Data) < 4+unix.NLMSG_HDRLEN {
		return e
	}
	echoed := m.Data[4:]
	size := min(int(binary.NativeEndian.Uint32(echoed)), len(echoed))
	e.Request = append([]byte(nil), echoed[:size]...)
	if rest := echoed[min(align(size), len(echoed)):]; len(rest) > 0 {
		for a := range Attributes(rest) {
			if a.Type == unix.NLMSGERR_ATTR_MSG {
				e.Message = a.String()
			}
		}
	}
	return e
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
