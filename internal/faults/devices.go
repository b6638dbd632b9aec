// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// devices are the faults of the tunnel devices.
func devices(a *dump.Archive, space string) ([]Fault, error) {
	names := []string{"istioin", "istioout"}
	if space == dump.ZtunnelSpace {
		names = []string{"pistioin", "pistioout"}
	}
	var out []Fault
	for _, name := range names {
		block := linkBlock(text(a, space, dump.KindLinks), name)
		if block == "" {
			continue
		}
		base := Fault{Space: space, Section: nodediff.Devices, Place: name, Line: name}
		out = append(out, lost(base, name), down(base, name))
		for _, c := range []struct{ field, where, to string }{
			{"id", `(?:geneve|vxlan) id ([0-9]+)`, "1099"},
			{"remote", `remote ([0-9.]+)`, "10.4.99.99"},
		} {
			at := regexp.MustCompile(c.where).FindStringSubmatchIndex(block)
			if at == nil {
				continue
			}
			f := base
			f.What, f.Kind, f.Field = fmt.Sprintf("%s %s → %s", c.field, block[at[2]:at[3]], c.to), nodediff.Changed, c.field
			other := block[:at[2]] + c.to + block[at[3]:]
			f.edits = map[dump.Kind]func(string) string{dump.KindLinks: func(text string) string { return strings.Replace(text, block, other, 1) }}
			f.script = turn(name, block, c.field, c.to)
			out = append(out, f)
		}
	}
	return out, nil
}

// linkBlock is what ip says of one device.
func linkBlock(text, name string) string {
	var out strings.Builder
	in := false
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && line[0] != ' ' {
			parts := strings.Fields(line)
			in = len(parts) > 1 && strings.TrimSuffix(parts[1], ":") == name
		}
		if in && line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// offRoutes are the routes that the kernel takes away with a device.
func offRoutes(name string) func(string) string {
	return without(func(line string) bool { return strings.Contains(line+" ", " dev "+name+" ") })
}

func lost(f Fault, name string) Fault {
	f.What, f.Kind = "deleted", nodediff.Missing
	f.edits = map[dump.Kind]func(string) string{
		dump.KindLinks:  func(text string) string { return strings.Replace(text, linkBlock(text, name), "", 1) },
		dump.KindRoutes: offRoutes(name),
		dump.KindSysctls: without(func(line string) bool {
			return strings.HasPrefix(line, "net.ipv4.conf."+name+".")
		}),
	}
	f.script = "ip link del " + name
	return f
}

func down(f Fault, name string) Fault {
	f.What, f.Kind, f.Field = "down", nodediff.Changed, "state"
	f.edits = map[dump.Kind]func(string) string{
		dump.KindLinks: func(text string) string {
			block := linkBlock(text, name)
			other := strings.Replace(strings.Replace(block, ",UP,LOWER_UP>", ">", 1), "state UNKNOWN", "state DOWN", 1)
			return strings.Replace(text, block, other, 1)
		},
		dump.KindRoutes: without(func(line string) bool {
			own := strings.HasPrefix(line, "local ") && strings.Contains(line, " table local ")
			return strings.Contains(line+" ", " dev "+name+" ") && !own
		}),
	}
	f.script = fmt.Sprintf("ip link set %s down", name)
	return f
}

// turn changes what a tunnel device is made with. The kernel changes the remote in
// place; another identifier takes another device, with everything that hung on it.
func turn(name, block, field, to string) string {
	kind := "geneve"
	if strings.Contains(block, "vxlan id") {
		kind = "vxlan"
	}
	get := func(expression string) string {
		m := regexp.MustCompile(expression).FindStringSubmatch(block)
		if m == nil {
			return ""
		}
		return m[1]
	}
	id, remote := get(kind+` id ([0-9]+)`), get(`remote ([0-9.]+)`)
	if field == "remote" {
		return fmt.Sprintf("ip link set %s type %s id %s remote %s", name, kind, id, to)
	}
	if field == "id" {
		id = to
	}
	address := get(`inet ([0-9./]+)`)
	if strings.Contains(block, "inet "+address+" brd") {
		address += " brd +"
	}
	more := ""
	if kind == "vxlan" {
		more = " nolearning"
	}
	return fmt.Sprintf(`routes=$(ip route show table all | grep ' dev %[1]s ' | grep -E 'table 10[0-9]')
neighbours=$(ip neigh show dev %[1]s nud permanent)
settings=$(sysctl -a 2>/dev/null | grep -E '^net.ipv4.conf.%[1]s.(rp_filter|accept_local) ')
ip link del %[1]s
ip link add %[1]s address %[2]s mtu %[3]s type %[4]s id %[5]s remote %[6]s dstport %[7]s%[8]s
ip addr add %[9]s dev %[1]s
echo "$settings" | sed 's/ //g' | xargs -r sysctl -q -w
ip link set %[1]s up
echo "$neighbours" | while read -r to how mac rest; do test -z "$to" || ip neigh replace $to lladdr $mac dev %[1]s nud permanent; done
echo "$routes" | while read -r route; do test -z "$route" || ip route add $route; done`,
		name, get(`link/ether ([0-9a-f:]+)`), get(` mtu ([0-9]+)`), kind, id, remote, get(`dstport ([0-9]+)`), more, address)
}
