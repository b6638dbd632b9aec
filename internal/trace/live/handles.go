// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"

	"github.com/google/nftables"
)

// handleKey names a rule of nf_tables.
type handleKey struct {
	family       uint8
	table, chain string
	handle       uint64
}

// handles are the places of nf_tables' rules in their chains, from 0: a trace names
// rules by handle, a dump by their order.
type handles map[handleKey]int

// readHandles lists the IPv4 rules of the namespace that the thread is in.
func readHandles() (handles, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("listing the rules of nf_tables: %w", err)
	}
	h := handles{}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyINet} {
		chains, err := conn.ListChainsOfTableFamily(family)
		if err != nil {
			return nil, fmt.Errorf("listing the chains of nf_tables: %w", err)
		}
		for _, c := range chains {
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				return nil, fmt.Errorf("listing the rules of %s %s: %w", c.Table.Name, c.Name, err)
			}
			for i, r := range rules {
				h[handleKey{uint8(family), c.Table.Name, c.Name, r.Handle}] = i
			}
		}
	}
	return h, nil
}
