// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Subsystems and messages of nfnetlink.
const (
	subsystemConntrack = unix.NFNL_SUBSYS_CTNETLINK
	subsystemLog       = unix.NFNL_SUBSYS_ULOG
	subsystemTables    = unix.NFNL_SUBSYS_NFTABLES

	ctDelete  = 2 // IPCTNL_MSG_CT_DELETE
	logPacket = 0 // NFULNL_MSG_PACKET

	nfgenmsgSize = 4
)

// decodeMessage reads one message of a NETLINK_NETFILTER socket. Messages that the
// tracer does not need give no event.
func decodeMessage(kind uint16, flags uint16, body []byte) (Event, bool, error) {
	if len(body) < nfgenmsgSize {
		return Event{}, false, errCut
	}
	family, attrs := body[0], body[nfgenmsgSize:]
	switch subsystem, message := kind>>8, kind&0xff; {
	case subsystem == subsystemTables && message == unix.NFT_MSG_TRACE:
		r, err := decodeTrace(attrs)
		return Event{Rule: r}, err == nil, err
	case subsystem == subsystemLog && message == logPacket:
		r, err := decodeLog(attrs)
		if r != nil {
			r.Family = family
		}
		return Event{Rule: r}, r != nil, err
	case subsystem == subsystemConntrack && family == unix.AF_INET:
		c, err := decodeConn(attrs)
		if err != nil {
			return Event{}, false, err
		}
		switch {
		case message == ctDelete:
			c.Kind = ConnDestroy
		case flags&(unix.NLM_F_CREATE|unix.NLM_F_EXCL) != 0:
			c.Kind = ConnNew
		default:
			c.Kind = ConnUpdate
		}
		return Event{Conn: c}, true, nil
	}
	return Event{}, false, nil
}

func decodeTrace(b []byte) (*RuleEvent, error) {
	r := &RuleEvent{Hook: -1}
	var network, transport []byte
	kind := uint64(unix.NFT_TRACETYPE_UNSPEC)
	err := attributes(b, func(t uint16, v []byte) {
		switch t {
		case unix.NFTA_TRACE_TABLE:
			r.Table = text(v)
		case unix.NFTA_TRACE_CHAIN:
			r.Chain = text(v)
		case unix.NFTA_TRACE_RULE_HANDLE:
			r.Handle = number(v)
		case unix.NFTA_TRACE_TYPE:
			kind = number(v)
		case unix.NFTA_TRACE_VERDICT:
			r.Verdict, r.JumpTo = decodeVerdict(v)
		case unix.NFTA_TRACE_POLICY:
			r.Verdict = verdictName(int32(number(v)))
		case unix.NFTA_TRACE_ID:
			r.ID = uint32(number(v))
		case unix.NFTA_TRACE_NETWORK_HEADER:
			network = v
		case unix.NFTA_TRACE_TRANSPORT_HEADER:
			transport = v
		case unix.NFTA_TRACE_IIF:
			r.In = int(number(v))
		case unix.NFTA_TRACE_OIF:
			r.Out = int(number(v))
		case unix.NFTA_TRACE_MARK:
			r.Mark = uint32(number(v))
		case unix.NFTA_TRACE_NFPROTO:
			r.Family = uint8(number(v))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("reading a trace of nf_tables: %w", err)
	}
	switch {
	case kind == unix.NFT_TRACETYPE_POLICY:
		r.Kind = RulePolicy
	case r.Verdict == "return" && r.Handle != 0:
		// A rule that returns: kernels differ in what they call it.
	case kind == unix.NFT_TRACETYPE_RETURN || r.Handle == 0:
		r.Kind = RuleReturn
	}
	if h, _, err := parseIPv4(network); err == nil {
		h.transport(transport)
		r.Header = h
	}
	return r, nil
}

func decodeVerdict(b []byte) (name, chain string) {
	// The error can only be a cut attribute, and then the verdict stays empty.
	_ = attributes(b, func(t uint16, v []byte) {
		switch t {
		case unix.NFTA_VERDICT_CODE:
			name = verdictName(int32(number(v)))
		case unix.NFTA_VERDICT_CHAIN:
			chain = text(v)
		}
	})
	return name, chain
}

func verdictName(code int32) string {
	switch code {
	case unix.NFT_CONTINUE:
		return "continue"
	case unix.NFT_BREAK:
		return "break"
	case unix.NFT_JUMP:
		return "jump"
	case unix.NFT_GOTO:
		return "goto"
	case unix.NFT_RETURN:
		return "return"
	}
	switch code & 0xff { // the rest has a queue's number or an error
	case 0:
		return "drop"
	case 1:
		return "accept"
	case 2:
		return "stolen"
	case 3:
		return "queue"
	case 4:
		return "repeat"
	}
	return "verdict " + strconv.Itoa(int(code))
}

// Attributes of a logged packet (linux/netfilter/nfnetlink_log.h).
const (
	logHeader = 1 // struct nfulnl_msg_packet_hdr: EtherType, hook, pad
	logMark   = 2
	logIn     = 4
	logOut    = 5
	logData   = 9
	logPrefix = 10
)

// decodeLog reads what the legacy variant says of a traced packet. What others log
// to the same group gives nil.
func decodeLog(b []byte) (*RuleEvent, error) {
	r := &RuleEvent{Legacy: true, Hook: -1}
	var prefix string
	var data []byte
	err := attributes(b, func(t uint16, v []byte) {
		switch {
		case t == logHeader && len(v) >= 3:
			r.Hook = hookOf(v[2])
		case t == logMark:
			r.Mark = uint32(number(v))
		case t == logIn:
			r.In = int(number(v))
		case t == logOut:
			r.Out = int(number(v))
		case t == logData:
			data = v
		case t == logPrefix:
			prefix = text(v)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("reading a log of netfilter: %w", err)
	}
	if !r.parsePrefix(prefix) {
		return nil, nil
	}
	h, rest, err := parseIPv4(data)
	if err != nil {
		return nil, nil // IPv6
	}
	r.Header = h
	if h.Protocol == protoUDP {
		r.Inner = parseTunnel(rest)
	}
	return r, nil
}

// parsePrefix reads "TRACE: mangle:PREROUTING:rule:1 ". Chains' names may have
// colons; a table's has none.
func (r *RuleEvent) parsePrefix(prefix string) bool {
	rest, ok := strings.CutPrefix(strings.TrimSpace(prefix), "TRACE: ")
	if !ok {
		return false
	}
	var number, word string
	if r.Table, rest, ok = strings.Cut(rest, ":"); !ok {
		return false
	}
	if rest, number, ok = cutLast(rest); !ok {
		return false
	}
	if r.Chain, word, ok = cutLast(rest); !ok {
		return false
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return false
	}
	r.Index = n
	switch word {
	case "rule":
	case "return":
		r.Kind = RuleReturn
	case "policy":
		r.Kind = RulePolicy
	default:
		return false
	}
	return true
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Attributes of a connection (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctTupleOrig  = 1
	ctTupleReply = 2
	ctStatus     = 3
	ctProtoInfo  = 4
	ctMark       = 8
	ctID         = 12

	ctTupleIP    = 1
	ctTupleProto = 2
	ctIPv4Src    = 1
	ctIPv4Dst    = 2
	ctProtoNum   = 1
	ctProtoSrc   = 2
	ctProtoDst   = 3

	ctProtoInfoTCP = 1
	ctTCPState     = 1
)

func decodeConn(b []byte) (*ConnEvent, error) {
	c := &ConnEvent{}
	var broken error
	note := func(err error) {
		if broken == nil {
			broken = err
		}
	}
	note(attributes(b, func(t uint16, v []byte) {
		switch t {
		case ctTupleOrig:
			note(c.Original.decode(v))
		case ctTupleReply:
			note(c.Reply.decode(v))
		case ctStatus:
			c.Status = uint32(number(v))
		case ctMark:
			c.Mark = uint32(number(v))
		case ctID:
			c.ID = uint32(number(v))
		case ctProtoInfo:
			note(attributes(v, func(t uint16, v []byte) {
				if t != ctProtoInfoTCP {
					return
				}
				note(attributes(v, func(t uint16, v []byte) {
					if t == ctTCPState {
						c.TCPState = uint8(number(v))
					}
				}))
			}))
		}
	}))
	if broken != nil {
		return nil, fmt.Errorf("reading an event of connection tracking: %w", broken)
	}
	return c, nil
}

func (t *Tuple) decode(b []byte) error {
	var src, dst netip.Addr
	var sport, dport uint16
	var inside error
	err := attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case ctTupleIP:
			inside = attributes(v, func(kind uint16, v []byte) {
				switch a, _ := netip.AddrFromSlice(v); kind {
				case ctIPv4Src:
					src = a
				case ctIPv4Dst:
					dst = a
				}
			})
		case ctTupleProto:
			inside = attributes(v, func(kind uint16, v []byte) {
				switch {
				case kind == ctProtoNum:
					t.Protocol = uint8(number(v))
				case kind == ctProtoSrc && len(v) == 2:
					sport = binary.BigEndian.Uint16(v)
				case kind == ctProtoDst && len(v) == 2:
					dport = binary.BigEndian.Uint16(v)
				}
			})
		}
	})
	t.Src, t.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	if err != nil {
		return err
	}
	return inside
}
