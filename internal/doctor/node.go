// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

func (x *exam) checkNode() {
	for _, look := range []func() *Check{
		x.checkController, x.checkZtunnel, x.checkPreflight, x.checkDataPath, x.checkConfiguration, x.checkCertificates, x.checkGaps,
	} {
		if c := look(); c != nil {
			x.report.Checks = append(x.report.Checks, *c)
		}
	}
}

// wanted tells that the mesh wants any pod of the node captured.
func (x *exam) wanted() bool {
	return slices.ContainsFunc(x.pods(), func(p dump.Pod) bool { return p.Enrolled || p.Captured })
}

func (x *exam) checkController() *Check {
	l := x.Live
	if l == nil {
		return nil
	}
	c := &Check{Name: "controller", State: OK, Text: fmt.Sprintf("It answers at %s, and the node agreed with the mesh when it looked last.", l.Addr)}
	drift := amounts(l.Metrics.above("ambient_node_drift_total"))
	switch {
	case l.Silent != nil:
		c.State, c.Text = Wrong, fmt.Sprintf("The node controller does not answer at %s: %v. What is on the node stays there, and nothing follows the mesh or sets anything right.", l.Addr, l.Silent)
		c.Remedy = "Start ambient-node, or see its log for why it ended. Where it serves elsewhere, give --node-addr."
	case l.Unready != "":
		c.State, c.Text = Wrong, "The node controller is not ready: "+l.Unready
		c.Remedy = "Its log has the same with more detail; it tries again by itself."
	case drift != "":
		c.State, c.Text = Note, "It answers, and since it started it has set right what others had changed: "+drift+"."
		c.Remedy = "Find out who changes the node: ambient-node's log has the time of each."
	}
	return c
}

// amounts is "3 chain, 1 set".
func amounts(values map[string]float64) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		out = append(out, fmt.Sprintf("%.0f %s", values[k], k))
	}
	return strings.Join(out, ", ")
}

func (x *exam) checkZtunnel() *Check {
	c := &Check{Name: "ztunnel", State: OK}
	z := x.Node.Ztunnel
	switch {
	case z == nil:
		c.State, c.Text = Unknown, "The ztunnel's network namespace is not in the dump"+x.gap(dump.ZtunnelSpace)+"."
		if x.Live != nil {
			c.Text = "No ztunnel was found on this node" + x.gap(dump.ZtunnelSpace) + "."
		}
		if x.Live != nil && x.wanted() {
			c.State = Wrong
			c.Remedy = "See whether its pod runs and is Ready: kubectl --namespace istio-system get pods -l app=ztunnel -o wide"
		}
	case x.Live != nil && x.Live.CertsErr != nil:
		c.State, c.Text = Wrong, fmt.Sprintf("The ztunnel's network namespace is there, and the ztunnel in it does not answer: %v.", short(x.Live.CertsErr))
		c.Remedy = "See the log of the ztunnel's pod. Captured connections end at it until it answers again."
	case x.proxyErr != nil:
		c.State, c.Text = Unknown, fmt.Sprintf("What the ztunnel has been told is not known: %v.", x.proxyErr)
	default:
		c.Text = fmt.Sprintf("%s answers and has its configuration.", x.ztunnelName())
	}
	return c
}

func (x *exam) ztunnelName() string {
	if x.proxy == nil || x.proxy.Node.Pod == "" {
		return "The ztunnel"
	}
	return "The ztunnel " + x.proxy.Node.Pod
}

// gap is why the dump has nothing of a namespace.
func (x *exam) gap(space string) string {
	for _, g := range x.Node.Gaps {
		if why, ok := strings.CutPrefix(g, space+": "); ok {
			return " (" + why + ")"
		}
	}
	return ""
}

func (x *exam) checkPreflight() *Check {
	if x.Preflight == nil {
		return nil
	}
	c := &Check{Name: "preflight", State: OK, Text: "Nothing stands in the way of the data path."}
	if x.Preflight.Err != nil {
		c.State, c.Text = Unknown, fmt.Sprintf("What stands in the way could not be looked at: %v", x.Preflight.Err)
		return c
	}
	blocking := 0
	for _, p := range x.Preflight.Problems {
		c.Details = append(c.Details, fmt.Sprintf("%s (%s). %s", p.What, p.Where, p.WayOut))
		if p.Blocking {
			blocking++
		}
	}
	switch {
	case blocking > 0:
		c.State, c.Text = Wrong, "The data path can't work on this node."
	case len(c.Details) > 0:
		c.State, c.Text = Note, "The data path can work; this is worth a look."
	}
	return c
}

// shownLines is how many lines of a kind the report names.
const shownLines = 8

// checkDataPath holds the rules, routes, devices, sets and sysctls against the plan.
func (x *exam) checkDataPath() *Check {
	c := &Check{Name: "data path", State: OK}
	switch {
	case errors.Is(x.diffErr, nodediff.ErrNone) && x.wanted():
		c.State, c.Text = Wrong, "The node has none of this data path's rules, and the mesh wants pods of it captured."
		c.Remedy = "They are put there when a ztunnel is Ready: look at the ztunnel, then at ambient-node's log."
		return c
	case errors.Is(x.diffErr, nodediff.ErrNone):
		c.Text = "The node has none of this data path's rules, and no pod that needs them."
		return c
	case x.diffErr != nil:
		c.State, c.Text = Unknown, x.diffErr.Error()
		return c
	}
	equal, unshown, inPod := 0, 0, 0
	for _, f := range x.diff.Findings {
		switch {
		case f.Kind == nodediff.Equal:
			equal++
		case f.Kind == nodediff.Unshown:
			unshown++
		case f.Kind.Differs() && (f.Space == dump.HostSpace || f.Space == dump.ZtunnelSpace):
			c.Details = append(c.Details, difference(f))
			if f.Space == dump.ZtunnelSpace {
				inPod++
			}
		}
	}
	c.Text = fmt.Sprintf("All %d lines of it are as they should be.", equal)
	if len(c.Details) > 0 {
		c.State = Wrong
		c.Text = fmt.Sprintf("%s, of %d.", plural(len(c.Details), "line is not as it should be", "lines are not as they should be"), equal+len(c.Details))
		c.Remedy = "ambientctl diff explains each line."
		if inPod < len(c.Details) {
			c.Remedy += " A running ambient-node sets right by itself what is on the node; its log says why if it can't."
		}
		if inPod > 0 {
			c.Remedy += " What is in the ztunnel's pod is put there when the pod starts: restart it."
		}
		if more := len(c.Details) - shownLines; more > 0 {
			c.Details = append(c.Details[:shownLines], fmt.Sprintf("and %d more", more))
		}
	} else if unshown > 0 {
		c.State, c.Text = Unknown, fmt.Sprintf("%d lines are as they should be; %d more the dump does not show.", equal, unshown)
	}
	return c
}

func difference(f nodediff.Finding) string {
	line := f.Want
	if line == "" {
		line = f.Have
	}
	place := f.Space
	if f.Place != "" {
		place += ", " + f.Place
	}
	text := fmt.Sprintf("%s: %s (%s)", f.Kind, line, place)
	for _, field := range f.Fields {
		text += "; " + field.String()
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// checkConfiguration looks for what the ztunnel rejected of what it was told.
func (x *exam) checkConfiguration() *Check {
	c := &Check{Name: "configuration", State: OK, Text: "The ztunnel has accepted all that it was told."}
	if x.proxy == nil {
		return nil
	}
	rejected := x.proxy.Rejected()
	counted, past := "", ""
	if x.Live != nil {
		counted = amounts(x.Live.Metrics.above("ambient22_xds_rejected_resources"))
		past = amounts(x.Live.Metrics.above("ambient22_xds_nacks_total"))
	}
	switch {
	case len(rejected) > 0 || counted != "":
		c.State, c.Text, c.Details = Wrong, "The ztunnel rejects what it is told (NACK), and keeps what it had before.", rejected
		if counted != "" {
			c.Text += " The node controller counts " + counted + "."
		}
		c.Remedy = "The node controller's log has the ztunnel's words. ambientctl xds diff compares what is served with what the ztunnel has."
	case past != "":
		c.State, c.Text = Note, "The ztunnel once rejected what it was told, and accepted what came after: "+past+"."
	}
	return c
}

func (x *exam) checkCertificates() *Check {
	c := &Check{Name: "certificates", State: OK}
	if x.Live == nil || x.Live.CertsErr != nil {
		if x.Live != nil || x.proxy == nil {
			return nil // the ztunnel's check says it
		}
		c.State, c.Text = Unknown, "A dump does not have the certificates' times; they are looked at on the node."
		return c
	}
	first := Certificate{}
	leaves := 0
	for _, cert := range x.Live.Certs {
		trouble := cert.trouble(x.Now)
		switch {
		case trouble != "":
			c.State = Wrong
			c.Details = append(c.Details, fmt.Sprintf("%s %s", cert.label(), trouble))
		case cert.late(x.Now):
			if c.State == OK {
				c.State = Note
			}
			c.Details = append(c.Details, fmt.Sprintf("%s expires in %s and has not been renewed", cert.label(), span(cert.To.Sub(x.Now))))
		}
		if !cert.CA {
			leaves++
			if first.To.IsZero() || cert.To.Before(first.To) {
				first = cert
			}
		}
	}
	switch {
	case leaves == 0:
		c.Text = "The ztunnel has no certificates, because no pod of the node needs any."
		if x.wanted() {
			c.State, c.Text = Wrong, "The ztunnel has no certificate of any pod."
			c.Remedy = "Look at the node controller's log: it issues them, or asks for them."
		}
	case c.State == OK:
		c.Text = fmt.Sprintf("%s; the first expires in %s.", plural(leaves, "certificate is valid", "certificates are valid"), span(first.To.Sub(x.Now)))
	case c.State == Note:
		c.Text = "All are valid, and some should have been renewed by now."
		c.Remedy = "Look at the node controller's log: it renews them well before they expire."
	default:
		c.Text = "Some are not valid, so the other ends refuse these pods' tunnels."
		c.Remedy = "Look at the node controller's log: it renews certificates well before they expire. Compare the nodes' clocks."
	}
	return c
}

// checkGaps says what could not be looked at.
func (x *exam) checkGaps() *Check {
	if len(x.Node.Gaps) == 0 {
		return nil
	}
	return &Check{Name: "not looked at", State: Unknown, Text: "These could not be taken, and nothing is said about them.", Details: x.Node.Gaps}
}
