// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestOrder has identities whose order shows what follows them in a name, waypoints
// among the services, and wants every list sorted.
func TestOrder(t *testing.T) {
	r := build(t, func(s *mesh.Snapshot) {
		for i, account := range []string{"sleep-2", "sleep.a", "sleep2", "sl"} {
			s.Workloads = append(s.Workloads, pod([]string{nodeA, nodeB}[i%2], account, account, address(10, i).String(), 1))
		}
		s.Workloads = append(s.Workloads, pod(nodeB, "waypoint", "sleep2", "10.9.0.1", 1, class(mesh.Waypoint)))
		s.Services = append(s.Services,
			service("default", "a", "10.8.9.1", port("aaa", 80), port("zzz", 81)),
			service("zoo", "a", "", port("serv", 80), port("serverz", 81)),
		)
	})
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
	for _, list := range lists(r) {
		sorted := slices.IsSortedFunc(list, func(a, b *envoyconfig.Resource) int { return strings.Compare(a.Name, b.Name) })
		if !sorted {
			var names []string
			for _, r := range list {
				names = append(names, r.Name)
			}
			t.Errorf("out of order:\n%s", strings.Join(names, "\n"))
		}
	}
}

// TestUnwritable are names that can't be told apart in the names of resources, or
// stand for something else where these are written.
func TestUnwritable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mesh.Snapshot)
		want   string
	}{
		"identity that begins another": {func(s *mesh.Snapshot) {
			s.Workloads = append(s.Workloads, pod(nodeB, "x", "sleep_to_x", "10.9.0.1", 1))
		}, "could be names of"},
		"hole in a port's name": {func(s *mesh.Snapshot) { s.Services[0].Ports[0].Name = "\uE022h0\uE023" }, "private use area"},
		"hole in an identity":   {func(s *mesh.Snapshot) { s.Workloads[0].ServiceAccount = "\uE022h1\uE023" }, "private use area"},
		"hole in a waypoint's identity": {func(s *mesh.Snapshot) {
			s.Workloads = append(s.Workloads, pod(nodeB, "x", "\uE022s0\uE023", "10.9.0.1", 1, class(mesh.Waypoint)))
		}, "private use area"},
		"port's name is no text":    {func(s *mesh.Snapshot) { s.Services[0].Ports[0].Name = "\xff" }, "UTF-8"},
		"an identity is no text":    {func(s *mesh.Snapshot) { s.Workloads[0].ServiceAccount = "\xff" }, "UTF-8"},
		"a certificate is no text":  {func(s *mesh.Snapshot) { s.Workloads[1].UID = "\xff" }, "UTF-8"},
		"a workload's label is not": {func(s *mesh.Snapshot) { s.Workloads[1].Labels = map[string]string{"app": "\xff"} }, "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			s := articleMesh()
			c.change(s)
			if _, err := envoyconfig.Build(s, envoyconfig.Options{Node: nodeA}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
