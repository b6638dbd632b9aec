// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"bufio"
	"os"
	"strings"
)

// part is a part of the kernel that a program asks. Asking one that is not there
// makes the kernel load its module, so it is looked for first.
type part struct {
	module string
	// symbol is a function of it, which /proc/kallsyms lists also where the part is
	// built in.
	symbol string
}

// The parts that programs ask.
var (
	partTracking = part{"nf_conntrack", "nf_conntrack_in"}
	partListing  = part{"nf_conntrack_netlink", "ctnetlink_get_conntrack"}
	partSets     = part{"ip_set", "ip_set_create"}
	partTables   = part{"nf_tables", "nf_tables_newrule"}
)

// kernel knows which parts are there. What can't be found out counts as there:
// better a dump than none.
type kernel struct {
	modules map[string]bool // loaded, from /proc/modules
	symbols map[string]bool // of the parts above
	blind   bool            // neither list can be read
}

func readKernel() kernel {
	k := kernel{modules: map[string]bool{}, symbols: map[string]bool{}}
	err1 := eachLine("/proc/modules", func(line string) {
		name, _, _ := strings.Cut(line, " ")
		k.modules[name] = true
	})
	wanted := map[string]bool{}
	for _, p := range []part{partTracking, partListing, partSets, partTables} {
		wanted[p.symbol] = true
	}
	err2 := eachLine("/proc/kallsyms", func(line string) {
		// ffffffff81000000 t name	[module]
		_, rest, _ := strings.Cut(line, " ")
		_, name, _ := strings.Cut(rest, " ")
		name, _, _ = strings.Cut(name, "\t")
		if wanted[name] {
			k.symbols[name] = true
		}
	})
	k.blind = err2 != nil || err1 != nil && len(k.symbols) == 0
	return k
}

func (k kernel) has(p part) bool { return k.blind || k.modules[p.module] || k.symbols[p.symbol] }

func eachLine(path string, do func(string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		do(lines.Text())
	}
	return lines.Err()
}
