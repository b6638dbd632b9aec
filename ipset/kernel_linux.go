// SPDX-License-Identifier: Apache-2.0

package ipset

import (
	"errors"
	"fmt"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// The kernel's numbers, from linux/netfilter/ipset/ip_set.h.
const (
	protocol = 6

	cmdCreate  = 2
	cmdDestroy = 3
	cmdList    = 7
	cmdAdd     = 9
	cmdDel     = 10
	cmdType    = 13

	attrProtocol = 1
	attrSetName  = 2
	attrTypeName = 3
	attrRevision = 4
	attrFamily   = 5
	attrData     = 7
	attrADT      = 8
	attrLineno   = 9

	dataIP         = 1
	dataCADTFlags  = 8
	dataReferences = 25 // in a set's header
	dataComment    = 26 // in an entry
	addrIPv4       = 1

	flagWithComment = 1 << 4

	// The first revision of hash:ip whose entries carry comments. Asking for
	// no more than needed keeps the set readable for every ipset tool.
	revisionWithComments = 2

	// Entries per message. The attribute that holds them has a 16-bit length
	// and the longest entry takes about 290 bytes.
	entriesPerMessage = 200

	// Errors of ipset's own, beyond the errnos.
	errFindType = unix.Errno(4098)
	errBusy     = unix.Errno(4100)
	errMismatch = unix.Errno(4102)
	errComment  = unix.Errno(4112) // the set keeps no comments
	errFull     = unix.Errno(4352) // hash is full, cannot add more elements
)

var (
	// ErrUnsupported says that the kernel has no IP sets, or not this type.
	ErrUnsupported = errors.New("the kernel has no ipset of type hash:ip")
	// ErrBusy says that a set is still used by a rule.
	ErrBusy = errors.New("the set is in use")
	// ErrOtherType says that a set of that name exists with another type.
	ErrOtherType = errors.New("a set of this name with another type exists")
	// ErrFull says that the set takes no more entries.
	ErrFull = errors.New("the set is full")
)

// Conn lists and changes sets in the network namespace of the thread that
// opened it. It is not safe for concurrent use.
type Conn struct {
	nl *nlbatch.Conn
	// Writes counts the netlink messages sent that change something.
	Writes int
}

// Dial opens a connection.
func Dial() (*Conn, error) {
	nl, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	return &Conn{nl: nl}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.nl.Close() }

// Apply makes the changes. A set that cannot be created is ErrUnsupported or
// ErrOtherType; one that cannot be destroyed is ErrBusy.
func (c *Conn) Apply(ch Changes) error {
	if ch.Create {
		if err := c.create(ch.Name); err != nil {
			return fmt.Errorf("creating set %s: %w", ch.Name, err)
		}
	}
	err := c.entries(cmdAdd, ch.Name, ch.Add, true)
	if errors.Is(err, errComment) {
		// Made by somebody without comments, or by a kernel that has none.
		err = c.entries(cmdAdd, ch.Name, ch.Add, false)
	}
	if err != nil {
		return fmt.Errorf("adding to set %s: %w", ch.Name, err)
	}
	if err := c.entries(cmdDel, ch.Name, ch.Delete, false); err != nil {
		return fmt.Errorf("deleting from set %s: %w", ch.Name, err)
	}
	if ch.Destroy {
		var b nlbatch.Batch
		begin(&b, cmdDestroy, 0, ch.Name)
		if err := c.send(&b); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("destroying set %s: %w", ch.Name, err)
		}
	}
	return nil
}

// create makes an empty set, with comments where the kernel can.
func (c *Conn) create(name string) error {
	revision, err := c.revision()
	if err != nil {
		return err
	}
	revision = min(revision, revisionWithComments)
	var b nlbatch.Batch
	begin(&b, cmdCreate, unix.NLM_F_CREATE|unix.NLM_F_EXCL, name)
	b.String(attrTypeName, TypeHashIP)
	b.Uint8(attrRevision, revision)
	b.Uint8(attrFamily, unix.AF_INET)
	b.Open(attrData)
	if revision >= revisionWithComments {
		b.Uint32BE(dataCADTFlags, flagWithComment)
	}
	b.Close()
	return c.send(&b)
}

// revision is the newest revision of hash:ip that the kernel knows.
func (c *Conn) revision() (uint8, error) {
	var b nlbatch.Batch
	header(&b, cmdType, 0)
	b.String(attrTypeName, TypeHashIP)
	b.Uint8(attrFamily, unix.AF_INET)
	var revision uint8
	failures, err := c.nl.Query(&b, func(_ int, m nlbatch.Message) error {
		for a := range nlbatch.Attributes(payload(m)) {
			if a.Type == attrRevision {
				revision = a.Uint8()
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("asking for the set type %s: %w", TypeHashIP, err)
	}
	if len(failures) > 0 {
		// EINVAL: the netfilter socket has no ipset behind it.
		return 0, errors.Join(ErrUnsupported, failures[0].Err)
	}
	return revision, nil
}

func (c *Conn) entries(cmd uint16, name string, entries []Entry, comments bool) error {
	if len(entries) == 0 {
		return nil
	}
	var b nlbatch.Batch
	for from := 0; from < len(entries); from += entriesPerMessage {
		part := entries[from:min(from+entriesPerMessage, len(entries))]
		begin(&b, cmd, 0, name)
		b.Uint32(attrLineno, 0) // the kernel counts entries with it when one fails
		b.Open(attrADT)
		for i, e := range part {
			if err := entry(&b, from+i, e, comments); err != nil {
				return err
			}
		}
		b.Close()
	}
	c.Writes += b.Len()
	failures, err := c.nl.Send(&b)
	if err != nil {
		return err
	}
	for _, f := range failures {
		err = errors.Join(err, explainEntry(f.Err, entries))
	}
	return err
}

func entry(b *nlbatch.Batch, index int, e Entry, comment bool) error {
	if !e.IP.Is4() {
		return fmt.Errorf("%s is not an IPv4 address", e.IP)
	}
	b.Open(attrData)
	b.Open(dataIP)
	ip := e.IP.As4()
	b.Bytes(addrIPv4|unix.NLA_F_NET_BYTEORDER, ip[:])
	b.Close()
	if comment && e.Comment != "" {
		b.String(dataComment, e.Comment[:min(len(e.Comment), maxComment)])
	}
	b.Uint32(attrLineno, uint32(index))
	b.Close()
	return nil
}

// explainEntry names the entry that the kernel refused: it writes that entry's
// number into the request that it echoes.
func explainEntry(err error, entries []Entry) error {
	var refused *nlbatch.Error
	if !errors.As(err, &refused) || len(refused.Request) < unix.NLMSG_HDRLEN+4 {
		return explain(err)
	}
	for a := range nlbatch.Attributes(refused.Request[unix.NLMSG_HDRLEN+4:]) {
		if n := int(a.Uint32()); a.Type == attrLineno && n < len(entries) {
			return fmt.Errorf("entry %s: %w", entries[n].IP, explain(err))
		}
	}
	return explain(err)
}

func (c *Conn) send(b *nlbatch.Batch) error {
	c.Writes += b.Len()
	failures, err := c.nl.Send(b)
	for _, f := range failures {
		err = errors.Join(err, explain(f.Err))
	}
	return err
}

// explain gives ipset's own error numbers a name.
func explain(err error) error {
	switch {
	case errors.Is(err, errFindType):
		return ErrUnsupported
	case errors.Is(err, errBusy):
		return ErrBusy
	case errors.Is(err, errMismatch), errors.Is(err, unix.EEXIST):
		return ErrOtherType
	case errors.Is(err, errFull):
		return ErrFull
	}
	return err
}

// header begins a request of the ipset subsystem.
func header(b *nlbatch.Batch, cmd, flags uint16) {
	b.Begin(unix.NFNL_SUBSYS_IPSET<<8|cmd, flags, []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0})
	b.Uint8(attrProtocol, protocol)
}

// begin begins a request about one set.
func begin(b *nlbatch.Batch, cmd, flags uint16, name string) {
	header(b, cmd, flags)
	b.String(attrSetName, name)
}

// payload is a message's attributes, after struct nfgenmsg.
func payload(m nlbatch.Message) []byte { return m.Data[min(4, len(m.Data)):] }
