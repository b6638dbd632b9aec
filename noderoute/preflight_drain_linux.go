// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// drainProblems are about the moment in which another ztunnel takes over. None keeps
// the data path from working; connections that are open then may be lost.
func (s *session) drainProblems(HostConfig, tools) ([]Problem, error) {
	l := &listing{side: Host}
	var err error
	if l.rules, err = s.listRules(); err != nil {
		return nil, err
	}
	var out []Problem
	for _, r := range l.rules {
		if !l.ownsRule(r) && r.Mask != ^uint32(0) && r.Mask&DrainMask != 0 {
			out = append(out, Problem{
				What:   fmt.Sprintf("somebody else's rule looks at the mark bits %#x, which tell connections of a replaced ztunnel from others", DrainMask),
				Where:  "ip rule: " + foreignRule(r),
				WayOut: "give it other bits, or expect it to see packets of such connections while a ztunnel is rolled out",
			})
		}
	}
	for slot := 1; slot <= DrainSlots; slot++ {
		routes, err := s.listRoutes(slotTable(slot))
		if err != nil {
			return nil, err
		}
		l.routes = append(l.routes, routes...)
	}
	have, foreign := l.slots(), 0
	for slot := 1; slot <= DrainSlots; slot++ {
		if have[slot].foreign {
			foreign++
		}
	}
	if foreign > 0 {
		out = append(out, Problem{
			What:   fmt.Sprintf("somebody else's routes are in %d of the %d tables for replaced ztunnels", foreign, DrainSlots),
			Where:  fmt.Sprintf("ip route show table %d to %d", TableDrain, tableLast),
			WayOut: fmt.Sprintf("move them to other tables, or have at most %d ztunnels replaced at the same time", DrainSlots-foreign),
		})
	}
	if err := trackingListed(); err != nil {
		out = append(out, Problem{
			What:   "tracked connections cannot be listed: those that are open when a ztunnel is replaced may be reset",
			Where:  err.Error(),
			WayOut: "load the module nf_conntrack_netlink, or take a kernel with CONFIG_NF_CT_NETLINK",
		})
	}
	return out, nil
}

// trackingListed asks the connection tracking for its counters, which is little.
func trackingListed() error {
	const ctMsgGetStats = 4 // IPCTNL_MSG_CT_GET_STATS_CPU
	conn, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer conn.Close()
	var b nlbatch.Batch
	b.Begin(unix.NFNL_SUBSYS_CTNETLINK<<8|ctMsgGetStats, 0, []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0})
	return conn.Dump(&b, func() {}, func(nlbatch.Message) error { return nil })
}
