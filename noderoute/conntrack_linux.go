// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// The kernel's numbers, from linux/netfilter/nfnetlink_conntrack.h,
// nf_conntrack_common.h and nf_conntrack_tcp.h.
const (
	ctMsgNew = 0
	ctMsgGet = 1

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaProtoInfo  = 4
	ctaMark       = 8
	ctaZone       = 18
	ctaMarkMask   = 21

	ctaTupleIP    = 1
	ctaTupleProto = 2
	ctaIPv4Src    = 1
	ctaProtoNum   = 1

	ctaProtoInfoTCP      = 1
	ctaProtoInfoTCPState = 1

	statusSeenReply = 1 << 1
	tcpLastAck      = 6 // later states are TIME_WAIT and CLOSE

	tableLocal = 255
)

// sweep walks over the tracked connections. Without it a ztunnel can be replaced
// all the same, at the cost of its connections: a failure is a warning.
func (s *session) sweep(w *sweep) error {
	n, err := s.remark(w)
	if w.begins.Slot != 0 {
		s.result.Replaced, s.result.Drained = w.begins.IP, n
	}
	if err != nil {
		s.result.Warnings = append(s.result.Warnings, fmt.Sprintf("%v: connections that are open may be reset", err))
	}
	return nil
}

// remark writes the marks that differ and returns how many it wrote.
func (s *session) remark(w *sweep) (int, error) {
	local, err := s.listRoutes(tableLocal)
	if err != nil {
		return 0, err
	}
	w.local = map[netip.Addr]bool{}
	for _, r := range local {
		if r.Local && r.Dst.IsSingleIP() {
			w.local[r.Dst.Addr()] = true
		}
	}
	conn, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var b nlbatch.Batch
	header := []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}
	var dump nlbatch.Batch
	dump.Begin(unix.NFNL_SUBSYS_CTNETLINK<<8|ctMsgGet, 0, header)
	err = conn.Dump(&dump, func() { b = nlbatch.Batch{} }, func(m nlbatch.Message) error {
		f, ok := readFlow(m.Data)
		if !ok {
			return nil
		}
		mark := w.mark(f)
		if mark == f.mark&DrainMask {
			return nil
		}
		b.Begin(unix.NFNL_SUBSYS_CTNETLINK<<8|ctMsgNew, 0, header)
		b.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, f.tuple)
		if f.zone != nil {
			b.Bytes(ctaZone, f.zone)
		}
		b.Uint32BE(ctaMark, mark)
		b.Uint32BE(ctaMarkMask, DrainMask)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("listing tracked connections: %w", err)
	}
	if b.Len() == 0 {
		return 0, nil
	}
	s.result.NetlinkWrites += b.Len()
	failures, err := conn.Send(&b)
	for _, f := range failures {
		if !errors.Is(f.Err, unix.ENOENT) { // it ended meanwhile
			return b.Len() - len(failures), fmt.Errorf("marking %d of %d tracked connections: %w", len(failures), b.Len(), f.Err)
		}
	}
	return b.Len() - len(failures), err
}

// readFlow reads one entry of the connection tracking, after its netlink header.
func readFlow(p []byte) (flow, bool) {
	if len(p) < 4 || p[0] != unix.AF_INET {
		return flow{}, false
	}
	var f flow
	state, status := uint8(0), uint32(0)
	for a := range nlbatch.Attributes(p[4:]) {
		switch a.Type {
		case ctaTupleOrig:
			var proto uint8
			f.src, proto = readTuple(a.Value)
			f.tcp = proto == unix.IPPROTO_TCP
			f.tuple = a.Value
		case ctaTupleReply:
			f.peer, _ = readTuple(a.Value)
		case ctaZone:
			f.zone = a.Value
		case ctaStatus:
			status = a.Uint32BE()
		case ctaMark:
			f.mark = a.Uint32BE()
		case ctaProtoInfo:
			for info := range nlbatch.Attributes(a.Value) {
				for one := range nlbatch.Attributes(info.Value) {
					if info.Type == ctaProtoInfoTCP && one.Type == ctaProtoInfoTCPState {
						state = one.Uint8()
					}
				}
			}
		}
	}
	f.open = status&statusSeenReply != 0 && state <= tcpLastAck
	return f, f.src.IsValid()
}

// readTuple reads the source and the protocol of one direction.
func readTuple(p []byte) (src netip.Addr, proto uint8) {
	for a := range nlbatch.Attributes(p) {
		for one := range nlbatch.Attributes(a.Value) {
			switch {
			case a.Type == ctaTupleIP && one.Type == ctaIPv4Src:
				src = one.Addr()
			case a.Type == ctaTupleProto && one.Type == ctaProtoNum:
				proto = one.Uint8()
			}
		}
	}
	return src, proto
}

// rememberDrains notes who has which slot before anything depends on it.
func (s *session) rememberDrains(drains []Drain) error {
	var now []drainState
	for _, d := range drains {
		now = append(now, drainState{d.Slot, d.IP, d.Veth})
	}
	if slices.Equal(now, s.state.Drains) {
		return nil
	}
	s.state.Drains = now
	return s.saveState()
}
