// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"github.com/google/nftables"
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
	name  string
	base  bool
	rules int
}

// listNFT reads the IPv4 tables of the given names.
func listNFT(names []string) (map[string]*nftTable, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("listing nftables tables: %w", err)
	}
	out := map[string]*nftTable{}
	for _, t := range tables {
		if slices.Contains(names, t.Name) {
			out[t.Name] = &nftTable{}
		}
	}
	if len(out) == 0 {
		return out, nil
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("listing nftables chains: %w", err)
	}
	for _, c := range chains {
		t := out[c.Table.Name]
		if t == nil {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return nil, fmt.Errorf("listing nftables rules of %s/%s: %w", c.Table.Name, c.Name, err)
		}
		t.chains = append(t.chains, nftChain{name: c.Name, base: c.Hooknum != nil, rules: len(rules)})
	}
	return out, nil
}

// rememberTables notes which tables and base chains exist before the first
// rule of ours is written. Where rules of ours are there already, nobody knows
// what was before them, and everything is taken as somebody else's.
func (s *session) rememberTables(t tools, changes []tableChange, have saved, side Side) error {
	if s.state.IPTables != t.variant.String() {
		s.state.IPTables = t.variant.String()
		if err := s.saveState(); err != nil {
			return err
		}
	}
	if t.variant != NFT || s.state.Tables != nil {
		return nil
	}
	var names []string
	for _, c := range changes {
		if !c.empty() {
			names = append(names, c.table)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := listNFT(names)
	if err != nil {
		return err
	}
	s.state.Tables = map[string]tableOrigin{}
	for _, name := range names {
		if hasOurs(side, have[name]) {
			continue
		}
		var origin tableOrigin
		if table := found[name]; table != nil {
			origin.Existed = true
			for _, c := range table.chains {
				if c.base {
					origin.Chains = append(origin.Chains, c.name)
				}
			}
		}
		s.state.Tables[name] = origin
	}
	return s.saveState()
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
	var names []string
	for name := range s.state.Tables {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	found, err := listNFT(names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if table := found[name]; table != nil {
			err = errors.Join(err, s.dropTable(name, table, s.state.Tables[name]))
		}
	}
	if err == nil {
		s.state.Tables = nil
	}
	return err
}

// The kernel's numbers, from linux/netfilter/nf_tables.h and nfnetlink.h.
const (
	nftMsgDelTable = 2
	nftMsgDelChain = 5
	nftaTableName  = 1
	nftaChainTable = 1
	nftaChainName  = 3

	// flagNonRecursive (NLM_F_NONREC) makes the kernel refuse to delete what
	// still has something in it, even if it came in a moment ago.
	flagNonRecursive = 0x100
)

func (s *session) dropTable(name string, table *nftTable, origin tableOrigin) error {
	var drop []string
	for _, c := range table.chains {
		if c.base && c.rules == 0 && !slices.Contains(origin.Chains, c.name) {
			drop = append(drop, c.name)
		}
	}
	wholly := !origin.Existed && len(drop) == len(table.chains)
	if len(drop) == 0 && !wholly {
		return nil
	}
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
	for _, chain := range drop {
		request(nftMsgDelChain)
		b.String(nftaChainTable, name)
		b.String(nftaChainName, chain)
	}
	if wholly {
		request(nftMsgDelTable)
		b.String(nftaTableName, name)
	}
	mark(unix.NFNL_MSG_BATCH_END)
	b.Trailers = 1

	conn, err := nlbatch.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer conn.Close()
	s.result.NetlinkWrites += b.Len()
	failures, err := conn.Send(&b)
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
