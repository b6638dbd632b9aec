// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// observation is what the kernel did with one probe.
type observation struct {
	// probe is the one that was sent, with what the kernel itself chose.
	probe Probe
	// connecting tells that TCP itself sent it.
	connecting bool
	sightings  []sighting
	frames     []frame
	refusal    unix.Errno // of sending
	// conn is the packet's connection afterwards, where there is one.
	conn      connection
	connected bool
	// route is what the kernel says it chooses for a packet that came in.
	route choice
	// counted is what the namespace counted meanwhile, where the packet did not leave.
	counted counts
}

// counts are some of the namespace's counters: of packets that it refused, and of those
// that it gave to TCP, UDP and ICMP. The confirmation of a connection, behind all
// observers, may still drop a packet.
type counts struct{ reversePath, noRoute, delivered uint64 }

// observers is the nftables table that watches. At PREROUTING the first observer
// gives packets from outside the mark that their Ethernet source address carries. At
// OUTPUT the first one takes away what the kernel sends itself (answers to probes,
// errors): they would be packets that nobody asked about.
func observers(ports []uint16) string {
	const last = 2147483646 // connection tracking confirms one behind
	var b strings.Builder
	chain := func(hook string, priority int, rules ...string) {
		fmt.Fprintf(&b, " chain %s%d {\n  type filter hook %s priority %d; policy accept;\n", hook, max(priority, 0), hook, priority)
		for _, r := range rules {
			fmt.Fprintf(&b, "  %s\n", r)
		}
		b.WriteString(" }\n")
	}
	log := func(at place) string {
		return fmt.Sprintf("log prefix \"%c\" group %d snaplen %d queue-threshold 1", at, logGroup, logSize)
	}
	var sockets []string
	for _, p := range ports {
		sockets = append(sockets, fmt.Sprintf("socket mark %d meta mark set %d %s", p, p, log(atSocket)))
	}
	b.WriteString("table ip prove {\n")
	chain("prerouting", -450, `iifname != "lo" meta mark set @ll,64,32`, log(atPreFirst))
	chain("prerouting", last, log(atPreLast))
	chain("input", -450, log(atInFirst))
	chain("input", last, append([]string{log(atInLast)}, sockets...)...)
	chain("forward", -450, log(atForward))
	chain("output", -450, fmt.Sprintf("meta skgid %d-%d %s accept", probeGIDs, probeGIDsEnd, log(atOutFirst)), log(atKernelOwn)+" drop")
	chain("output", last, log(atOutLast))
	chain("postrouting", last, log(atPostLast))
	b.WriteString("}\n")
	return b.String()
}

// watch installs the observers.
func (k *kernel) watch(ctx context.Context) error {
	_, err := command(ctx, observers(k.world.Listeners), "nft", "-f", "-")
	if err == nil {
		k.counts, err = readCounts()
	}
	return err
}

// try gives a probe to the kernel. Everything that follows happens before the
// call that gives it returns, except for questions for neighbours, which are
// answered here.
func (k *kernel) try(p Probe) (observation, error) {
	var o observation
	var err error
	connecting := p.sourceless() && p.Protocol == unix.IPPROTO_TCP
	if p.In != "" {
		err = k.tap(p.In).receive(p.wire(), p.Mark)
	} else {
		o.refusal, err = send(p)
	}
	if err == nil {
		err = k.collect(&o)
	}
	if seen, ok := o.at(atOutFirst); ok && p.sourceless() {
		p.Serial, p.Src, p.Dst = seen.serial, seen.src, seen.dst
	}
	o.probe, o.connecting = p, connecting
	if err == nil {
		o.conn, o.connected, err = k.track.connection(p)
	}
	if seen, ok := o.at(atPreLast); err == nil && ok && p.In != "" {
		o.route, err = k.routes.choose(seen, p.TOS)
	}
	if err == nil && len(o.frames) == 0 {
		err = k.count(&o)
	}
	return o, err
}

func (k *kernel) tap(name string) *tap {
	for _, t := range k.taps {
		if t.name == name {
			return t
		}
	}
	return nil
}

// collect takes all that was seen until nothing is left.
func (k *kernel) collect(o *observation) error {
	for again := true; again; {
		again = false
		for _, t := range k.taps {
			for {
				f, isPacket, more, err := t.read(k.buffer)
				if err != nil {
					return err
				}
				if !more {
					break
				}
				again = true
				if isPacket {
					o.frames = append(o.frames, f)
				}
			}
		}
	}
	var err error
	o.sightings, err = k.log.sightings(o.sightings)
	return err
}

// at is the last sighting at a place.
func (o *observation) at(p place) (sighting, bool) {
	for i := len(o.sightings) - 1; i >= 0; i-- {
		if o.sightings[i].place == p {
			return o.sightings[i], true
		}
	}
	return sighting{}, false
}

func (k *kernel) count(o *observation) error {
	now, err := readCounts()
	o.counted = counts{now.reversePath - k.counts.reversePath, now.noRoute - k.counts.noRoute, now.delivered - k.counts.delivered}
	k.counts = now
	return err
}

func readCounts() (counts, error) {
	var c counts
	fields := map[string]*uint64{"IPReversePathFilter": &c.reversePath, "InNoRoutes": &c.noRoute, "InDelivers": &c.delivered}
	for _, file := range [...]string{"netstat", "snmp"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			return counts{}, fmt.Errorf("reading the namespace's counters: %w", err)
		}
		rows := strings.Split(string(text), "\n")
		for i := 0; i+1 < len(rows); i += 2 {
			names, values := strings.Fields(rows[i]), strings.Fields(rows[i+1])
			for j, name := range names {
				if into := fields[name]; into != nil {
					if *into, err = strconv.ParseUint(values[j], 10, 64); err != nil {
						return counts{}, fmt.Errorf("reading the namespace's counter %s: %w", name, err)
					}
				}
			}
		}
	}
	return c, nil
}
