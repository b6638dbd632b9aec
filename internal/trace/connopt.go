// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// connOption is one of -m conntrack's options about the connection itself.
type connOption struct {
	not    bool
	end    connEnd
	a, b   uint32 // an address and its mask, or a lowest and a highest number
	reply  bool   // --ctdir REPLY
	status uint32
}

type connEnd uint8

const (
	endDirection connEnd = iota
	endProtocol
	endStatus
	endOrigSrc
	endOrigDst
	endReplySrc
	endReplyDst
	endOrigSrcPort
	endOrigDstPort
	endReplySrcPort
	endReplyDstPort
)

var connOptions = map[string]connEnd{
	"--ctdir": endDirection, "--ctproto": endProtocol, "--ctstatus": endStatus,
	"--ctorigsrc": endOrigSrc, "--ctorigdst": endOrigDst, "--ctreplsrc": endReplySrc, "--ctrepldst": endReplyDst,
	"--ctorigsrcport": endOrigSrcPort, "--ctorigdstport": endOrigDstPort,
	"--ctreplsrcport": endReplySrcPort, "--ctrepldstport": endReplyDstPort,
}

// Bits of a connection's status.
const (
	statusExpected uint32 = 1 << iota
	statusSeenReply
	statusAssured
	statusConfirmed
)

// readConnOptions reads the options that the parser keeps word by word; false where
// one is not understood.
func readConnOptions(words []string) (list []connOption, ok bool) {
	not := false
	for i := 0; i < len(words); i++ {
		if words[i] == "!" {
			not = true
			continue
		}
		end, known := connOptions[words[i]]
		i++
		if !known || i == len(words) {
			return nil, false
		}
		o := connOption{not: not, end: end}
		if !o.read(words[i]) {
			return nil, false
		}
		list, not = append(list, o), false
	}
	return list, true
}

func (o *connOption) read(word string) (ok bool) {
	switch {
	case o.end == endDirection:
		o.reply = word == "REPLY"
		return o.reply || word == "ORIGINAL"
	case o.end == endStatus:
		return o.readStatus(word)
	case o.end >= endOrigSrc && o.end <= endReplyDst:
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, err2 := netip.ParseAddr(word)
			if err2 != nil {
				return false
			}
			p = netip.PrefixFrom(a, 32)
		}
		o.a, ok = number(p.Addr())
		o.b = maskOf(p.Bits())
		o.a &= o.b
		return ok
	}
	first, last, ranged := strings.Cut(word, ":")
	if !ranged {
		last = first
	}
	low, err1 := strconv.ParseUint(first, 10, 16)
	high, err2 := strconv.ParseUint(last, 10, 16)
	if n, named := protocols[word]; named && o.end == endProtocol {
		low, high, err1, err2 = uint64(n), uint64(n), nil, nil
	}
	o.a, o.b = uint32(low), uint32(high)
	return err1 == nil && err2 == nil
}

func (o *connOption) readStatus(word string) bool {
	for name := range strings.SplitSeq(word, ",") {
		switch name {
		case "NONE":
		case "EXPECTED":
			o.status |= statusExpected
		case "SEEN_REPLY":
			o.status |= statusSeenReply
		case "CONFIRMED":
			o.status |= statusConfirmed
		default: // ASSURED depends on time and protocol
			return false
		}
	}
	return o.status != 0
}

// matchesConn asks -m conntrack's options about the connection. Where there is none,
// the state alone decides, if the rule asks for it.
func (r *run) matchesConn(c *cond) answer {
	if !r.tracked {
		return answerOf(len(c.match.(iptsave.State).States) > 0)
	}
	for i := range c.conn {
		if o := &c.conn[i]; r.connHas(o) == o.not {
			return no
		}
	}
	return yes
}

func (r *run) connHas(o *connOption) bool {
	ct, n := &r.ct, uint32(0)
	switch o.end {
	case endDirection:
		return r.reply == o.reply
	case endStatus:
		var status uint32
		if ct.replied {
			status |= statusSeenReply
		}
		if ct.confirmed {
			status |= statusConfirmed
		}
		return status&o.status != 0
	case endOrigSrc:
		return ct.orig.src&o.b == o.a
	case endOrigDst:
		return ct.orig.dst&o.b == o.a
	case endReplySrc:
		return ct.reply.src&o.b == o.a
	case endReplyDst:
		return ct.reply.dst&o.b == o.a
	case endProtocol:
		n = uint32(ct.orig.proto)
	case endOrigSrcPort:
		n = uint32(ct.orig.sport)
	case endOrigDstPort:
		n = uint32(ct.orig.dport)
	case endReplySrcPort:
		n = uint32(ct.reply.sport)
	case endReplyDstPort:
		n = uint32(ct.reply.dport)
	}
	return o.a <= n && n <= o.b
}
