// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// linkItem is one device. Its index and its hardware address do not count.
func linkItem(l *iproute.Link, names aliases) item {
	fields := []attr{{"device", names.of(l.Name)}}
	add := func(name, value string, there bool) {
		if there {
			fields = append(fields, attr{name, value})
		}
	}
	add("kind", l.Kind, l.Kind != "")
	if t := l.Tunnel; t != nil {
		add("id", strconv.FormatUint(uint64(t.VNI), 10), true)
		add("remote", t.Remote.String(), t.Remote.IsValid())
		add("dstport", strconv.Itoa(int(t.Port)), t.Port != 0)
	}
	up := "down"
	if slices.Contains(l.Flags, "UP") {
		up = "up"
	}
	add("state", up, true)
	add("mtu", strconv.FormatUint(uint64(l.MTU), 10), l.MTU != 0)
	add("master", names.of(l.Master), l.Master != "")
	for _, a := range l.Addrs {
		if a.Prefix.Addr().Is4() {
			add("inet", a.Prefix.String(), true)
			add("brd", a.Broadcast.String(), a.Broadcast.IsValid())
		}
	}
	it := newItem(linkLine(fields), fields)
	it.lineNo = l.Line
	return it
}

// linkLine is a device in one line, the way ip link add would word it.
func linkLine(fields []attr) string {
	var out strings.Builder
	for i, f := range fields {
		switch {
		case i == 0, f.name == "kind", f.name == "state":
			out.WriteString(" " + f.value)
		default:
			fmt.Fprintf(&out, " %s %s", f.name, f.value)
		}
	}
	return out.String()[1:]
}

// wantedLink is the item of a planned device. mtu is what the kernel gives to a
// device whose MTU is left to it; 0 is not known, and then whatever is there is right.
func wantedLink(d geneve.Device, have *iproute.Link, mtu uint32) item {
	l := &iproute.Link{
		Name: d.Name, Kind: d.Kind.String(), Flags: []string{"UP"}, MTU: uint32(d.MTU),
		Tunnel: &iproute.Tunnel{VNI: d.VNI, Remote: d.Remote, Port: d.Port},
	}
	if l.MTU == 0 {
		l.MTU = mtu
	}
	if l.MTU == 0 && have != nil {
		l.MTU = have.MTU
	}
	if d.Addr.IsValid() {
		a := iproute.Addr{Prefix: d.Addr}
		if d.Broadcast {
			a.Broadcast = lastAddress(d.Addr)
		}
		l.Addrs = []iproute.Addr{a}
	}
	return linkItem(l, nil)
}

// setItem is a set as such, without its entries.
func setItem(s *setsave.Set) item {
	it := newItem(strings.TrimSpace("create "+s.Name+" "+s.Type+" "+s.Options), []attr{{"set", s.Name}, {"type", s.Type}})
	it.lineNo = s.Line
	return it
}

// entryItem is one entry of a set. Without comments only the element counts.
func entryItem(set string, e setsave.Entry, comments bool) item {
	fields := []attr{{"entry", e.Elem}}
	if e.NoMatch {
		fields = append(fields, attr{"nomatch", "yes"})
	}
	if comments && e.Comment != "" {
		fields = append(fields, attr{"comment", e.Comment})
	}
	line := strings.TrimSpace("add " + set + " " + e.Elem + " " + e.Options)
	if e.Options == "" && e.Comment != "" {
		line += fmt.Sprintf(" comment %q", e.Comment)
	}
	it := newItem(line, fields)
	it.lineNo = e.Line
	return it
}
