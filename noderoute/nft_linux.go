// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// The nft variant makes a table with the first rule in it, and one base chain
// per built-in chain used, and leaves both when the last rule goes. So that a
// cleaned node has exactly the tables it had, those that were not there before
// are taken away again, if nobody else has put anything into them.

// nftTable is a table of the iptables-nft variant and its chains.
type nftTable struct {
	chains []nftChain
}

type nftChain struct {
	name string
	base bool
	used uint32 // how many rules it has, and how many jump to it
	// policy is what becomes of a packet at the end of a base chain.
	policy uint32
}

// The kernel's numbers, from linux/netfilter/nf_tables.h and nfnetlink.h.
const (
	nftMsgGetTable = 1
	nftMsgDelTable = 2
	nftMsgGetChain = 4
	nftMsgDelChain = 5
	nftMsgGetRule  = 7
	nftaTableName  = 1
	nftaRuleTable  = 1
	nftaChainTable = 1
	nftaChainName  = 3
	nftaChainHook  = 4
	nftaChainPol   = 5
	nftaChainUse   = 6

	policyAccept = 1 // NF_ACCEPT

	// flagNonRecursive (NLM_F_NONREC) makes the kernel refuse to delete what
	// still has something in it, even if it came in a moment ago.
	flagNonRecursive = 0x100
)

// listNFT reads the IPv4 tables that nftables has, with their chains. A kernel
// without nftables has none.
func listNFT() (map[string]*nftTable, error) {
	conn, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var out map[string]*nftTable
	err = dumpNFT(conn, nftMsgGetTable, func() { out = map[string]*nftTable{} }, func(m nlbatch.Message) {
		for a := range nlbatch.Attributes(m.Data[4:]) {
			if a.Type == nftaTableName {
				out[a.String()] = &nftTable{}
			}
		}
	})
	if err != nil {
		return nil, noNFT(err)
	}
	forget := func() {
		for _, t := range out {
			t.chains = nil
		}
	}
	err = dumpNFT(conn, nftMsgGetChain, forget, func(m nlbatch.Message) {
		table, chain := readNFTChain(m)
		if t := out[table]; t != nil {
			t.chains = append(t.chains, chain)
		}
	})
	return out, noNFT(err)
}

// noNFT turns the answer of a kernel without nftables into "nothing is there".
func noNFT(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing nftables: %w", err)
	}
	return nil
}

func dumpNFT(conn *nlbatch.Conn, cmd uint16, start func(), each func(nlbatch.Message)) error {
	var b nlbatch.Batch
	b.Begin(unix.NFNL_SUBSYS_NFTABLES<<8|cmd, 0, []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0})
	return conn.Dump(&b, start, func(m nlbatch.Message) error {
		if len(m.Data) >= 4 && m.Data[0] == unix.AF_INET {
			each(m)
		}
		return nil
	})
}

func readNFTChain(m nlbatch.Message) (table string, c nftChain) {
	for a := range nlbatch.Attributes(m.Data[4:]) {
		switch a.Type {
		case nftaChainTable:
			table = a.String()
		case nftaChainName:
			c.name = a.String()
		case nftaChainHook:
			c.base = true
		case nftaChainPol:
			c.policy = a.Uint32BE()
		case nftaChainUse:
			c.used = a.Uint32BE()
		}
	}
	return table, c
}

// iptablesTables are the tables that iptables knows.
func iptablesTables() []string { return []string{"filter", "mangle", "nat", "raw", "security"} }

// countNFT counts the rules in the tables of the nft variant.
func countNFT() (int, error) {
	conn, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	n := 0
	err = dumpNFT(conn, nftMsgGetRule, func() { n = 0 }, func(m nlbatch.Message) {
		for a := range nlbatch.Attributes(m.Data[4:]) {
			if a.Type == nftaRuleTable && slices.Contains(iptablesTables(), a.String()) {
				n++
			}
		}
	})
	return n, noNFT(err)
}

// nothingOfOurs tells from the names of the chains that no rule of ours can be
// in the nft variant: on the node each of them is in, or leads to, a chain of
// ours; in the pod they need chains with something in them.
func nothingOfOurs(side Side) (bool, error) {
	tables, err := listNFT()
	if err != nil {
		return false, err
	}
	for _, name := range []string{"mangle", "nat"} {
		if tables[name] == nil {
			continue
		}
		for _, c := range tables[name].chains {
			if ownChain(side, c.name) || (side == InPod && c.used > 0) {
				return false, nil
			}
		}
	}
	return true, nil
}

// rememberTables notes which tables and base chains exist before the first
// rule of ours is written. Where rules of ours are there already, nobody knows
// what was before them, and everything is taken as somebody else's.
func (s *session) rememberTables(t tools, changes []tableChange, have saved, side Side) error {
	if s.state.IPTables == t.variant.String() && (t.variant != NFT || s.state.Tables != nil) {
		return nil
	}
	s.state.IPTables = t.variant.String()
	if t.variant == NFT && s.state.Tables == nil {
		found, err := listNFT()
		if err != nil {
			return err
		}
		s.state.Tables = map[string]tableOrigin{}
		for _, c := range changes {
			if !c.empty() && !hasOurs(side, have[c.table]) {
				s.state.Tables[c.table] = originOf(found[c.table])
			}
		}
	}
	return s.saveState()
}

func originOf(t *nftTable) tableOrigin {
	if t == nil {
		return tableOrigin{}
	}
	origin := tableOrigin{Existed: true}
	for _, c := range t.chains {
		if c.base {
			origin.Chains = append(origin.Chains, c.name)
		}
	}
	return origin
}

func hasOurs(side Side, t *savedTable) bool {
	if t == nil {
		return false
	}
	c := diffTable(side, Table{Name: t.name}, t)
	return !c.empty()
}

// dropTables takes away the tables and base chains that came with our rules
// and are empty now.
func (s *session) dropTables() error {
	if len(s.state.Tables) == 0 {
		return nil
	}
	found, err := listNFT()
	if err != nil {
		return err
	}
	for _, name := range []string{"mangle", "nat"} {
		origin, ours := s.state.Tables[name]
		if table := found[name]; ours && table != nil {
			err = errors.Join(err, s.dropTable(name, table, origin))
		}
	}
	if err == nil {
		s.state.Tables = nil
	}
	return err
}

// mayGo tells whether nobody misses a chain: iptables made it for the first rule
// in it, it has no rules, and it does nothing without them.
func (c nftChain) mayGo() bool {
	return isBuiltin(c.name) && c.base && c.used == 0 && c.policy == policyAccept
}

func (s *session) dropTable(name string, table *nftTable, origin tableOrigin) error {
	var drop []string
	for _, c := range table.chains {
		if c.mayGo() && !slices.Contains(origin.Chains, c.name) {
			drop = append(drop, c.name)
		}
	}
	wholly := !origin.Existed && len(drop) == len(table.chains)
	if len(drop) == 0 && !wholly {
		return nil
	}
	conn, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer conn.Close()
	b := dropTransaction(name, drop, wholly)
	s.result.NetlinkWrites += b.Len()
	failures, err := conn.Send(b)
	for _, f := range failures {
		// Busy: somebody came in. Not there: somebody else took it away.
		if !errors.Is(f.Err, unix.EBUSY) && !errors.Is(f.Err, unix.ENOENT) {
			err = errors.Join(err, fmt.Errorf("deleting empty nftables table %s: %w", name, f.Err))
		}
	}
	if err == nil && len(failures) == 0 {
		s.result.Changes = append(s.result.Changes, fmt.Sprintf("nftables: delete what came into table ip %s with our rules (%d chains)", name, len(drop)))
	}
	return err
}

// dropTransaction deletes chains and, where wholly, their table: all of it or
// nothing.
func dropTransaction(table string, chains []string, wholly bool) *nlbatch.Batch {
	var b nlbatch.Batch
	mark := func(typ uint16) {
		p := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}
		binary.BigEndian.PutUint16(p[2:], unix.NFNL_SUBSYS_NFTABLES)
		b.Begin(typ, 0, p)
	}
	request := func(cmd uint16) {
		b.Begin(unix.NFNL_SUBSYS_NFTABLES<<8|cmd, flagNonRecursive, []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0})
	}
	mark(unix.NFNL_MSG_BATCH_BEGIN)
	for _, chain := range chains {
		request(nftMsgDelChain)
		b.String(nftaChainTable, table)
		b.String(nftaChainName, chain)
	}
	if wholly {
		request(nftMsgDelTable)
		b.String(nftaTableName, table)
	}
	mark(unix.NFNL_MSG_BATCH_END)
	b.Trailers = 1
	return &b
}
