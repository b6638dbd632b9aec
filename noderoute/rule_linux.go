// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"fmt"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// listRules reads the IPv4 policy routing rules.
func (s *session) listRules() ([]listedRule, error) {
	var b nlbatch.Batch
	msg := make([]byte, unix.SizeofRtMsg) // struct fib_rule_hdr has the same layout
	msg[0] = unix.AF_INET
	b.Begin(unix.RTM_GETRULE, 0, msg)
	var out []listedRule
	err := s.route.Dump(&b, func() { out = nil }, func(m nlbatch.Message) error {
		if r, ok := readRule(m.Data); ok {
			out = append(out, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing ip rules: %w", err)
	}
	return out, nil
}

const (
	actionToTable = 1 // FR_ACT_TO_TBL
	actionGoto    = 2 // FR_ACT_GOTO

	flagInvert = 2 // FIB_RULE_INVERT, "not"
)

func readRule(p []byte) (listedRule, bool) {
	if len(p) < unix.SizeofRtMsg || p[0] != unix.AF_INET {
		return listedRule{}, false
	}
	var r listedRule
	action := p[7]
	r.Table = uint32(p[4])
	r.other = p[1] != 0 || p[2] != 0 || p[3] != 0 || p[8]&flagInvert != 0 || (action != actionToTable && action != actionGoto)
	for a := range nlbatch.Attributes(p[unix.SizeofRtMsg:]) {
		switch a.Type {
		case unix.FRA_PRIORITY:
			r.Priority = a.Uint32()
		case unix.FRA_FWMARK:
			r.Mark = a.Uint32()
		case unix.FRA_FWMASK:
			r.Mask = a.Uint32()
		case unix.FRA_TABLE:
			r.Table = a.Uint32()
		case unix.FRA_GOTO:
			r.Goto = a.Uint32()
		case unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP:
			r.other = r.other || a.Uint32() != ^uint32(0)
		case unix.FRA_PROTOCOL, unix.FRA_PAD:
		case unix.FRA_SRC, unix.FRA_OIFNAME, unix.FRA_IP_PROTO, unix.FRA_SPORT_RANGE, unix.FRA_DPORT_RANGE:
			r.other, r.picky = true, true
		case unix.FRA_IIFNAME:
			r.other, r.picky = true, r.picky || a.String() != "lo"
		default:
			r.other = true
		}
	}
	r.picky = r.picky && p[8]&flagInvert == 0
	if action == actionGoto {
		r.Table = 0
	}
	return r, true
}

// writeRules makes rule changes in one batch. The rules carry no protocol, so
// that `ip rule` prints nothing behind them.
func (s *session) writeRules(changes []ruleChange) error {
	var b nlbatch.Batch
	for _, ch := range changes {
		typ, flags := uint16(unix.RTM_NEWRULE), uint16(unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		if ch.del {
			typ, flags = unix.RTM_DELRULE, 0
		}
		msg := make([]byte, unix.SizeofRtMsg)
		msg[0], msg[4], msg[7] = unix.AF_INET, uint8(ch.Table), actionToTable
		if ch.Goto != 0 {
			msg[7] = actionGoto
		}
		b.Begin(typ, flags, msg)
		b.Uint32(unix.FRA_PRIORITY, ch.Priority)
		if ch.Mark != 0 || ch.Mask != 0 {
			b.Uint32(unix.FRA_FWMARK, ch.Mark)
			b.Uint32(unix.FRA_FWMASK, ch.Mask)
		}
		if ch.Goto != 0 {
			b.Uint32(unix.FRA_GOTO, ch.Goto)
		} else {
			b.Uint32(unix.FRA_TABLE, ch.Table)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	s.result.NetlinkWrites += b.Len()
	failures, err := s.route.Send(&b)
	for _, f := range failures {
		ch := changes[f.Index]
		switch {
		case ch.del && errors.Is(f.Err, unix.ENOENT), !ch.del && errors.Is(f.Err, unix.EEXIST):
		case ch.del:
			err = errors.Join(err, fmt.Errorf("deleting ip rule %d: %w", ch.Priority, f.Err))
		default:
			err = errors.Join(err, fmt.Errorf("adding ip rule %d: %w", ch.Priority, f.Err))
		}
	}
	return err
}
