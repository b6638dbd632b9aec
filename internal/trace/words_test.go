// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"strings"
)

// facts are a walk's results by name.
func (w *Walk) facts() map[string]string {
	facts := map[string]string{
		"verdict": w.Verdict.String(), "out": w.Out, "src": w.Packet.Src.String(), "dst": w.Packet.Dst.String(),
		"mark": fmt.Sprintf("%#x", w.Packet.Mark), "connmark": fmt.Sprintf("%#x", w.Connmark), "state": w.State.String(),
		"doubts": fmt.Sprint(len(w.Doubt)),
	}
	if w.Via.IsValid() {
		facts["via"] = w.Via.String()
	}
	if w.Socket.IsValid() {
		facts["socket"] = w.Socket.String()
	}
	return facts
}

// story prints a walk for a failed test.
func (w *Walk) story() string {
	var b strings.Builder
	for i := range w.Steps {
		s := &w.Steps[i]
		fmt.Fprintf(&b, "%-11s %-6s %-20s %v", s.Hook, s.Table, s.Chain, s.Matched)
		if s.Rule != nil {
			fmt.Fprintf(&b, " %s", s.Rule)
		}
		if s.IPRule != nil {
			fmt.Fprintf(&b, " %s", s.IPRule)
		}
		if s.Route != nil {
			fmt.Fprintf(&b, " %s", s.Route)
		}
		fmt.Fprintf(&b, " | %s\n", s.Why())
	}
	fmt.Fprintf(&b, "%v out %q via %v packet %+v\ndoubts %q\n", w.Verdict, w.Out, w.Via, w.Packet, w.Doubt)
	return b.String()
}

func splitBar(s string) func(func(string) bool) { return strings.SplitSeq(s, "|") }
