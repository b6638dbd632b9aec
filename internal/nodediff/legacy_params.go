// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/noderoute"
)

// The parameters of a legacy node.
const (
	paramZtunnel = "ztunnel IP"
	paramVeth    = "veth"
	paramHost    = "host IP"
	paramGateway = "gateway" // the node's address as the ztunnel's pod sees it
	paramKind    = "tunnel"
	paramPort    = "tunnel port"
	paramName    = "ztunnel name"
	paramPods    = "pods"
	paramDNS     = "DNS capture"
	paramProfile = "profile"
)

// questioned are the parameters about which lines of one dump may disagree.
func questioned() []string {
	return []string{paramZtunnel, paramVeth, paramHost, paramGateway, paramKind, paramPort, paramName}
}

// hearHost asks every line of the node that tells a parameter.
func hearHost(w *witnesses, s *space) {
	if s == nil {
		return
	}
	hearMangle(w, s)
	for _, l := range s.Links {
		if !tunnelDevice(l.Name) || l.Tunnel == nil {
			continue
		}
		e := Evidence{Line: linkItem(l, nil).line, File: s.file(dump.KindLinks), LineNo: l.Line}
		if l.Name == noderoute.DeviceInbound || l.Name == noderoute.DeviceOutbound {
			w.hear(paramZtunnel, addrText(l.Tunnel.Remote), e)
		}
		hearTunnel(w, l, e)
	}
	hearHostRoutes(w, s)
}

func hearTunnel(w *witnesses, l *iproute.Link, e Evidence) {
	w.hear(paramKind, l.Kind, e)
	if l.Tunnel.Port != 0 {
		w.hear(paramPort, strconv.Itoa(int(l.Tunnel.Port)), e)
	}
}

// hearMangle reads the rules of the chains that name the ztunnel, its veth or the node.
func hearMangle(w *witnesses, s *space) {
	evidence := func(line string, no int) Evidence {
		return Evidence{Line: line, File: s.file(s.kind), LineNo: no}
	}
	draining := drainVeths(s)
	if c := s.chain("mangle", "ztunnel-PREROUTING"); c != nil {
		for _, r := range c.Rules {
			f := fieldsOf(ruleItem(r, nil))
			e := evidence(ruleText(r), r.Line)
			in, negated := strings.CutPrefix(f["-i"], "! ")
			if draining[in] {
				continue
			}
			if from, is := strings.CutPrefix(f["-s"], "! "); is && in != "" && !negated {
				w.hear(paramZtunnel, strings.TrimSuffix(from, "/32"), e)
			}
			if in != "" && !tunnelDevice(in) {
				w.hear(paramVeth, in, e)
			}
			if f["-p"] == "udp" && f["target"] == "RETURN" && in == "" {
				w.hear(paramPort, f["--dport"], e)
			}
		}
	}
	if c := s.chain("mangle", "ztunnel-OUTPUT"); c != nil {
		for _, r := range c.Rules {
			f := fieldsOf(ruleItem(r, nil))
			if from := f["-s"]; from != "" && !strings.HasPrefix(from, "! ") {
				w.hear(paramHost, strings.TrimSuffix(from, "/32"), evidence(ruleText(r), r.Line))
			}
		}
	}
	if c := s.chain("nat", "ztunnel-PREROUTING"); c != nil {
		for _, r := range c.Rules {
			f := fieldsOf(ruleItem(r, nil))
			if f["target"] == "DNAT" {
				to, _, _ := strings.Cut(f["to"], ":")
				w.hear(paramZtunnel, to, evidence(ruleText(r), r.Line))
			}
		}
	}
}

func fieldsOf(it item) map[string]string {
	out := make(map[string]string, len(it.fields))
	for _, f := range it.fields {
		if _, is := out[f.name]; !is {
			out[f.name] = f.value
		}
	}
	return out
}

// hearHostRoutes reads tables 100 to 102 and, for the veth, the table main.
func hearHostRoutes(w *witnesses, s *space) {
	evidence := func(r *iproute.Route) Evidence {
		return Evidence{Line: routeItem(r, nil).line, File: s.file(dump.KindRoutes), LineNo: r.Line}
	}
	for _, r := range s.Routes {
		if r.IPv6 || r.Table < noderoute.TableInbound || r.Table > noderoute.TableProxyReturn {
			continue
		}
		switch {
		case r.Dst.IsSingleIP() && !r.Via.IsValid() && r.Dev != "" && !tunnelDevice(r.Dev):
			w.hear(paramZtunnel, r.Dst.Addr().String(), evidence(r))
			w.hear(paramVeth, r.Dev, evidence(r))
		case r.Table == noderoute.TableProxyReturn && r.Dst.Bits() == 0:
			w.hear(paramZtunnel, addrText(r.Via), evidence(r))
			w.hear(paramVeth, r.Dev, evidence(r))
		case r.Table == noderoute.TableInbound && r.Dev == noderoute.DeviceInbound:
			w.hear(paramHost, addrText(r.Src), evidence(r))
		}
	}
	z, err := netip.ParseAddr(w.value(paramZtunnel))
	if err != nil {
		return
	}
	if r := s.route(254, z); r != nil && r.Dst.IsSingleIP() && !r.Via.IsValid() {
		w.hear(paramVeth, r.Dev, evidence(r))
	}
}

// drains are the ztunnels that the node still knows besides the active one: the
// routes of the slots' tables tell.
func drains(s *space) []noderoute.Drain {
	var out []noderoute.Drain
	if s == nil {
		return nil
	}
	for _, r := range s.Routes {
		slot := int(r.Table) - noderoute.TableDrain + 1
		if slot < 1 || slot > noderoute.DrainSlots || r.Dst.Bits() != 0 || !r.Via.IsValid() {
			continue
		}
		out = append(out, noderoute.Drain{Ztunnel: noderoute.Ztunnel{IP: r.Via, Veth: r.Dev}, Slot: slot})
	}
	slices.SortFunc(out, func(a, b noderoute.Drain) int { return a.Slot - b.Slot })
	return out
}

func drainVeths(s *space) map[string]bool {
	out := map[string]bool{}
	for _, d := range drains(s) {
		out[d.Veth] = true
	}
	return out
}

// hearPod asks the lines of the ztunnel's pod.
func hearPod(w *witnesses, s *space) {
	if s == nil {
		return
	}
	for _, l := range s.Links {
		e := Evidence{Line: linkItem(l, nil).line, File: s.file(dump.KindLinks), LineNo: l.Line}
		switch {
		case l.Tunnel != nil && tunnelDevice(l.Name):
			w.hear(paramGateway, addrText(l.Tunnel.Remote), e)
			hearTunnel(w, l, e)
		case l.Name == "eth0":
			if a, is := s.address("eth0"); is {
				w.hear(paramZtunnel, a.Addr().String(), e)
			}
		}
	}
	for _, r := range s.Routes {
		e := Evidence{Line: routeItem(r, nil).line, File: s.file(dump.KindRoutes), LineNo: r.Line}
		switch {
		case r.IPv6:
		case r.Table == 254 && r.Dst.Bits() == 0 && r.Dev == "eth0":
			w.hear(paramGateway, addrText(r.Via), e)
		case (r.Table == noderoute.TableOutbound || r.Table == noderoute.TableProxyReturn) && r.Dst.IsSingleIP() && r.Dev == "eth0":
			w.hear(paramGateway, r.Dst.Addr().String(), e)
		}
	}
	c := s.chain("mangle", "PREROUTING")
	if c == nil {
		return
	}
	for _, r := range c.Rules {
		f := fieldsOf(ruleItem(r, nil))
		e := Evidence{Line: ruleText(r), File: s.file(s.kind), LineNo: r.Line}
		if to, is := strings.CutPrefix(f["-d"], "! "); is && f["-i"] == "eth0" {
			w.hear(paramZtunnel, strings.TrimSuffix(to, "/32"), e)
		}
		if name := logName(r); name != "" {
			w.hear(paramName, name, e)
		}
	}
}
