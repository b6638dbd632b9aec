// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The routing tables that have names.
const (
	tableMain  = 254
	tableLocal = 255
)

// takeRoutes finds the table of routes that do not say it themselves: from the
// command or heading above, the file's name, or the devices of the tunnel.
func (n *looseNode) takeRoutes(ns *Netns, t looseText, f File) error {
	table, said := tableOfName(t.hint)
	if !said {
		table, said = tableOfName(t.file)
	}
	if strings.Contains(f.Text, " table ") {
		return ns.take(KindRoutes, f, tableUnknown) // of all tables: main's routes say none
	}
	if !said {
		table = tableOfRoutes(ns.Name, f.Text)
		if table != tableMain {
			n.gap(t, fmt.Sprintf("taken as routing table %d, because of its routes: nothing says which it is", table))
		}
	}
	n.tables[ns.Name] = append(n.tables[ns.Name], table)
	return ns.take(KindRoutes, f, table)
}

// tableOfName finds "table 101", "table-101", "table101", "table main".
func tableOfName(name string) (table uint32, said bool) {
	words := split(name)
	for i, word := range words {
		if word != "table" && word != "rt" || i+1 == len(words) {
			continue
		}
		switch words[i+1] {
		case "main":
			return tableMain, true
		case "local":
			return tableLocal, true
		}
		if number, err := strconv.ParseUint(words[i+1], 10, 32); err == nil && number > 0 {
			return uint32(number), true
		}
	}
	return 0, false
}

// tableOfRoutes knows the tables of the data path by their routes.
func tableOfRoutes(space, text string) uint32 {
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("default via 192.168.127.2 dev istioout"), has("default via 192.168.127.1 dev pistioout"):
		return 101
	case has("default via 192.168.126.1 dev pistioin"):
		return 102
	case has(" via 192.168.126.2 dev istioin"):
		return 100
	case has("default via") && has(" onlink") && !has("proto"):
		return 102
	case has("local default dev lo"):
		return 100
	case has("broadcast ") || has("local 127.0.0.0/8"):
		return tableLocal
	}
	return tableMain
}

// tellTables notes which tables are there where they came one by one.
func (n *looseNode) tellTables(ns *Netns) {
	tables := n.tables[ns.Name]
	if len(tables) == 0 || len(tables) < len(ns.Files[KindRoutes]) {
		return
	}
	slices.Sort(tables)
	var names []string
	for _, table := range slices.Compact(tables) {
		switch table {
		case tableMain:
			names = append(names, "main")
		case tableLocal:
			names = append(names, "local")
		default:
			names = append(names, strconv.FormatUint(uint64(table), 10))
		}
	}
	word := "table "
	if len(names) > 1 {
		word = "tables "
	}
	ns.Partial[KindRoutes] = "only " + word + strings.Join(names, ", ")
}
