// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
)

// ErrNone says that a dump shows none of the generations, so that nobody knows what
// should be there.
var ErrNone = errors.New("the dump shows no generation of Istio's interception")

// Plan compares a node with what should be on it: for the legacy Geneve generation,
// what the node controller would put there with the parameters that the dump itself
// tells; for the others, what their rules should be.
func Plan(n *dump.Node, o Options) (*Report, error) {
	r := &Report{Version: 1, Node: n.Name, Against: "plan", Gaps: n.Gaps}
	found, err := recognise(n, o)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, g := range found {
		r.Generations = append(r.Generations, g.Generation)
		if g.err != nil {
			problems = append(problems, g.err)
			continue
		}
		if g.Name == Geneve || o.covers(g.Space) || o.Scope == "" {
			r.Findings = append(r.Findings, g.findings...)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("comparing %s: %w; where one should be, give --ztunnel-ip, --veth and --host-ip%s", n.Name, ErrNone, incomplete(n))
	case len(problems) > 0 && len(r.Findings) == 0:
		return nil, errors.Join(problems...)
	}
	for _, p := range problems {
		r.Notes = append(r.Notes, p.Error())
	}
	return r, nil
}

// incomplete is what a dump itself says that it lacks; the first few such things.
func incomplete(n *dump.Node) string {
	gaps := n.Gaps[:min(len(n.Gaps), 3)]
	if len(gaps) == 0 {
		return ""
	}
	return " (the dump is not complete: " + strings.Join(gaps, "; ") + ")"
}
