// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// place is where the observers see a packet.
type place byte

// The places, by the prefix that the observer there logs with.
const (
	atPreFirst  place = 'P' // PREROUTING, before everything
	atPreLast   place = 'p' // PREROUTING, behind everything
	atInFirst   place = 'I' // INPUT, before everything
	atInLast    place = 'i'
	atForward   place = 'f' // FORWARD, before everything
	atOutFirst  place = 'O' // OUTPUT, before everything
	atOutLast   place = 'o'
	atPostLast  place = 't'
	atKernelOwn place = 'K' // a packet that the kernel made itself: taken away at OUTPUT
	atSocket    place = 's' // INPUT, behind everything: mark is that of the socket
)

// sighting is a packet at one of the places.
type sighting struct {
	header
	place   place
	mark    uint32
	in, out int // devices' indexes
}

const (
	logGroup = 5
	logSize  = 96 // bytes of a packet that are copied

	// Of linux/netfilter/nfnetlink_log.h.
	logPacket     = unix.NFNL_SUBSYS_ULOG << 8
	logConfig     = unix.NFNL_SUBSYS_ULOG<<8 | 1
	logConfigCmd  = 1
	logConfigMode = 2
	logBind       = 1
	logCopyPacket = 2
	logMark       = 2
	logInDevice   = 4
	logOutDevice  = 5
	logPayload    = 9
	logPrefix     = 10
)

// openLog listens to the observers.
func openLog() (*netlink, error) {
	n, err := openNetlink(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	head := []byte{unix.AF_INET, 0, 0, logGroup}
	for _, body := range [][]byte{
		attribute(head, logConfigCmd, logBind),
		attribute(head, logConfigMode, 0, 0, 0, logSize, logCopyPacket, 0),
	} {
		if _, err := n.ask(logConfig, unix.NLM_F_ACK, body); err != nil {
			return nil, fmt.Errorf("listening to log group %d: %w", logGroup, err)
		}
	}
	return n, nil
}

// sightings appends what was seen since the last call.
func (n *netlink) sightings(list []sighting) ([]sighting, error) {
	for {
		messages, err := n.receive(false)
		if err != nil || len(messages) == 0 {
			return list, err
		}
		for _, m := range messages {
			if m.kind != logPacket || len(m.body) < netfilterHeader {
				continue
			}
			s, err := readSighting(m.body[netfilterHeader:])
			if err != nil {
				return list, err
			}
			list = append(list, s)
		}
	}
}

func readSighting(b []byte) (sighting, error) {
	var s sighting
	var err error
	attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case logPrefix:
			s.place = place(v[0])
		case logMark:
			s.mark = binary.BigEndian.Uint32(v)
		case logInDevice:
			s.in = int(binary.BigEndian.Uint32(v))
		case logOutDevice:
			s.out = int(binary.BigEndian.Uint32(v))
		case logPayload:
			s.header, err = parse(v)
		}
	})
	return s, err
}
