// SPDX-License-Identifier: Apache-2.0

package meshsize

import (
	"fmt"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// Size is how large the resources of one kind are.
type Size struct {
	Kind      string `json:"kind"` // listeners, clusters, endpoints or extensions
	Resources int    `json:"resources"`
	Chains    int    `json:"chains"` // filter chains of all listeners together
	Bytes     int64  `json:"bytes"`  // on the wire, without the names and versions around a resource
}

// Growth is what changes in the resources of one kind.
type Growth struct {
	Kind    string `json:"kind"`
	New     int    `json:"new"`
	Changed int    `json:"changed"`
	Removed int    `json:"removed"`
	Bytes   int64  `json:"bytes"`  // by which the kind grows
	Resent  int64  `json:"resent"` // of all new and changed resources: what delta xDS sends
	// Whole is what state of the world sends: listeners and clusters all together
	// where any of them differs, endpoints and extensions those that differ.
	Whole int64 `json:"whole"`
}

// Step is what one thing more does.
type Step struct {
	What  string   `json:"what"`
	Kinds []Growth `json:"kinds"`
}

// Report is the size of one node's configuration, and what makes it grow.
type Report struct {
	Kinds []Size `json:"kinds"`
	Steps []Step `json:"one_more"`
}

type kind struct {
	name      string
	resources []*envoyconfig.Resource
	whole     bool // state of the world must repeat all of them
}

func kinds(r *envoyconfig.Resources) []kind {
	return []kind{
		{"listeners", r.Listeners, true}, {"clusters", r.Clusters, true},
		{"endpoints", r.Endpoints, false}, {"extensions", r.Extensions, false},
	}
}

// Measure is the size of every kind.
func Measure(r *envoyconfig.Resources) []Size {
	var all []Size
	for _, k := range kinds(r) {
		s := Size{Kind: k.name, Resources: len(k.resources)}
		for _, resource := range k.resources {
			s.Chains += resource.Chains()
			s.Bytes += int64(resource.Wire.Len())
		}
		all = append(all, s)
	}
	return all
}

// Compare is what changes from one configuration to the next, of every kind.
func Compare(from, to *envoyconfig.Resources) []Growth {
	var all []Growth
	before := kinds(from)
	for i, k := range kinds(to) {
		all = append(all, grow(before[i], k))
	}
	return all
}

func grow(before, after kind) Growth {
	g := Growth{Kind: after.name}
	versions := make(map[string]string, len(before.resources))
	for _, r := range before.resources {
		versions[r.Name] = r.Version
		g.Bytes -= int64(r.Wire.Len())
	}
	var total int64
	for _, r := range after.resources {
		size := int64(r.Wire.Len())
		total += size
		version, had := versions[r.Name]
		delete(versions, r.Name)
		switch {
		case !had:
			g.New++
		case version != r.Version:
			g.Changed++
		default:
			continue
		}
		g.Resent += size
	}
	g.Removed = len(versions)
	g.Bytes += total
	g.Whole = g.Resent
	if after.whole && g.New+g.Changed+g.Removed > 0 {
		g.Whole = total
	}
	return g
}

// Of builds the node's configuration, and again with one thing more at a time.
func Of(s *mesh.Snapshot, o envoyconfig.Options) (*Report, error) {
	b := envoyconfig.NewBuilder(o)
	now, err := b.Update(s, o.ProxyID)
	if err != nil {
		return nil, fmt.Errorf("measuring the configuration: %w", err)
	}
	report := &Report{Kinds: Measure(now)}
	for _, c := range OneMore(s, o.Node) {
		then, err := b.Update(c.Mesh, o.ProxyID)
		if err != nil {
			return nil, fmt.Errorf("measuring the configuration with one more %s: %w", c.Name, err)
		}
		report.Steps = append(report.Steps, Step{What: c.Name, Kinds: Compare(now, then)})
	}
	return report, nil
}
