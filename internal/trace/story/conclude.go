// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/trace"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// conclude says how the story ends.
func (t *teller) conclude() {
	o := &t.s.Outcome
	first, last := t.connections[0], t.connections[len(t.connections)-1]
	o.Captured = captured(first)
	for _, c := range t.connections {
		if c.tunnel != nil && c.broken == "" {
			o.Tunnelled = true
		}
	}
	if t.changedByNode(first) {
		t.remark(t.natRemark(first))
	}
	broken := t.broken()
	reached := last.arrival.fate == arrived && last.arrival.space.kind != ztunnelSpace || last.arrival.fate == inPod ||
		last.arrival.fate == arrived && last.proxy == nil && t.ends.to.ip == last.arrival.space.node.ztunnelIP()
	o.Delivered = broken == nil && reached
	o.Unknown = broken == nil && !reached || broken != nil && broken.unknown()
	switch {
	case o.Delivered:
		o.Sentence = t.delivered(last)
	case broken == nil:
		o.Sentence = fmt.Sprintf("%s, and where it ends the dumps don't tell.", t.began())
	case o.Unknown:
		o.Sentence = fmt.Sprintf("%s. How it ends the dumps don't tell: %s", t.began(), lower(broken.broken))
	case broken == first && t.atZtunnel(first) && !first.answerLost:
		o.Sentence = fmt.Sprintf("%s, reaches %s, and ends there. %s", t.began(), t.ends.to.short(), capital(broken.broken))
	case broken.answerLost && broken.arrival.fate != lost && broken.proxy == nil:
		o.Sentence = fmt.Sprintf("%s, reaches %s, and gets no answer. %s", t.began(), t.ends.to.short(), capital(broken.broken))
	default:
		o.Sentence = fmt.Sprintf("%s, and does not reach %s. %s", t.began(), t.ends.to.short(), capital(broken.broken))
	}
}

// atZtunnel tells that the call is to a ztunnel's own address, and arrived there.
func (t *teller) atZtunnel(c *connection) bool {
	return c.arrival.fate == arrived && c.arrival.space.kind == ztunnelSpace && t.ends.to.ip == c.arrival.space.node.ztunnelIP()
}

// unknown tells that a connection was not followed to its end.
func (c *connection) unknown() bool {
	return c.arrival.fate == unclear || c.arrival.fate == outside || c.lostSight || c.proxy != nil && c.proxy.End == proxyview.NotModelled
}

// captured tells that the packet went into the ztunnel of the caller's node: it
// was led into the tunnel, and nothing says that it did not come out there.
func captured(c *connection) bool {
	return c.arrival.fate != lost && intoTunnel(c)
}

// intoTunnel tells that the packet was led into the tunnel to the ztunnel's outbound
// side.
func intoTunnel(c *connection) bool {
	return slices.ContainsFunc(c.arrival.through, func(d string) bool { return strings.HasPrefix(d, outDevice) })
}

// began is the sentence's first half: what the call is, and whether it was captured.
func (t *teller) began() string {
	what := "call"
	if t.ends.protocol == protocolUDP {
		what = "UDP packet"
	}
	first := t.connections[0]
	switch {
	case !t.s.Outcome.Captured && t.s.Outcome.Unknown && first.arrival.fate == unclear && first.arrival.walk == trace.Unknown:
		return fmt.Sprintf("Whether the %s of %s is captured is not clear", what, t.ends.from.short())
	case t.s.Outcome.Captured:
		return fmt.Sprintf("The %s of %s is captured", what, t.ends.from.short())
	}
	return fmt.Sprintf("The %s of %s is not captured", what, t.ends.from.short())
}

// delivered is the sentence of a call that arrives.
func (t *teller) delivered(last *connection) string {
	var how []string
	for _, c := range t.connections {
		switch {
		case c.proxy == nil && c.tunnel != nil:
			how = append(how, fmt.Sprintf("goes through an HBONE tunnel from %s, which the pod ends itself", identityName(c.hello)))
		case c.proxy == nil:
		case c.tunnel != nil && c.proxy.Identity != "":
			how = append(how, fmt.Sprintf("goes through an HBONE tunnel from %s to %s", identityName(c.hello), shortIdentity(c.proxy.Identity)))
		case c.proxy.Passthrough:
			how = append(how, "is handed on without a tunnel")
		case c.number == 1 && !t.s.Outcome.Captured:
			how = append(how, "is taken in by the ztunnel of the pod it calls, without a tunnel")
		}
	}
	text := t.began()
	how = append(how, fmt.Sprintf("arrives at %s (%s), which sees it come from %s", t.arrivalName(last), last.arrival.packet.Dst, last.arrival.packet.Src.Addr()))
	if t.ends.protocol == protocolTCP {
		how = append(how, "is answered")
	}
	return text + ", " + joined(how) + "."
}

func identityName(h *proxyview.Hello) string {
	if h == nil || h.Identity == "" {
		return "nobody in particular"
	}
	return shortIdentity(h.Identity)
}

// shortIdentity is ns/sa of a SPIFFE identity.
func shortIdentity(id string) string {
	_, rest, ok := strings.Cut(id, "/ns/")
	if !ok {
		return id
	}
	return strings.Replace(rest, "/sa/", "/", 1)
}

func joined(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + ", and " + parts[len(parts)-1]
}
