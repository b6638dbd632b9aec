// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/conntrack"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/trace"
)

// words is what the kernel did, for people.
func words(o observation, links []*iproute.Link) string {
	names := map[int]string{0: "-"}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	places := map[place]string{
		atPreFirst: "PREROUTING, first", atPreLast: "PREROUTING, last", atInFirst: "INPUT, first", atInLast: "INPUT, last", atForward: "FORWARD, first",
		atOutFirst: "OUTPUT, first", atOutLast: "OUTPUT, last", atPostLast: "POSTROUTING, last",
		atKernelOwn: "sent by the kernel", atSocket: "given to the socket with the mark",
	}
	var b strings.Builder
	for _, s := range o.sightings {
		fmt.Fprintf(&b, "  %-20s %s > %s protocol %d, mark %#x, in %s out %s", places[s.place], s.src, s.dst, s.protocol, s.mark, names[s.in], names[s.out])
		if s.icmpType != 0 || s.icmpCode != 0 {
			fmt.Fprintf(&b, ", ICMP %d/%d", s.icmpType, s.icmpCode)
		}
		b.WriteString("\n")
	}
	for _, f := range o.frames {
		fmt.Fprintf(&b, "  left by %s for neighbour %s: %s > %s\n", f.dev, f.via, f.src, f.dst)
	}
	if o.refusal != 0 {
		fmt.Fprintf(&b, "  sending was refused: %s\n", o.refusal)
	}
	if o.connected {
		fmt.Fprintf(&b, "  connection %v, answers %v, connmark %#x\n", o.conn.original, o.conn.reply, o.conn.mark)
	}
	fmt.Fprintf(&b, "  counted: refused for the reverse path %d, no route %d, delivered %d\n", o.counted.reversePath, o.counted.noRoute, o.counted.delivered)
	return b.String()
}

// connections is the kernel's table, for the engine to go on from.
func (k *kernel) connections(ctx context.Context) (*trace.Conns, error) {
	text, err := command(ctx, "", "conntrack", "-L", "-f", "ipv4")
	if err != nil {
		return nil, err
	}
	list, err := conntrack.Parse("conntrack", text)
	return trace.NewConns(list...), err
}

// Text is the trial for people: how to make it again, the world, the packets.
func (t *Trial) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (iptables-%s), after %d packets\n", t.World.Name, t.World.Variant, len(t.Probes))
	for _, d := range t.Differences {
		fmt.Fprintf(&b, "! %s\n", d)
	}
	b.WriteString(t.World.text())
	b.WriteString("== packets\n")
	for _, p := range t.Probes {
		fmt.Fprintf(&b, "%s\n", p)
	}
	if t.Walk != nil {
		b.WriteString("== the engine\n")
		for _, s := range t.Walk.Steps {
			fmt.Fprintf(&b, "  %s\n", s.Why())
		}
		fmt.Fprintf(&b, "  %s: %+v out %q via %v socket %v connmark %#x\n", verdictName(t.Walk.Verdict), t.Walk.Packet, t.Walk.Out, t.Walk.Via, t.Walk.Socket, t.Walk.Connmark)
	}
	if t.Seen != nil {
		fmt.Fprintf(&b, "== the kernel\n%s", t.Seen())
	}
	return b.String()
}

// String is a probe in one line.
func (p Probe) String() string {
	from := "in " + p.In
	if p.In == "" {
		from = fmt.Sprintf("sent by %d:%d", p.UID, p.GID)
		if p.OIF != "" {
			from += " bound to " + p.OIF
		}
	}
	more := ""
	switch p.Protocol {
	case 6:
		more = fmt.Sprintf(" flags %#x", p.TCPFlags)
	case 1:
		more = fmt.Sprintf(" type %d", p.ICMPType)
	}
	if p.TOS != 0 {
		more += fmt.Sprintf(" tos %#x", p.TOS)
	}
	return fmt.Sprintf("#%d %s: %s > %s protocol %d%s mark %#x", p.Serial, from, p.Src, p.Dst, p.Protocol, more, p.Mark)
}
