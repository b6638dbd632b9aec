// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"testing"
	"time"
)

// rule is how a resource of one kind comes, changes and goes.
type rule struct {
	kind                kind
	add, change, remove func(w *world, name string)
}

func rules() []rule {
	add, remove := (*world).addCluster, (*world).removeCluster
	return []rule{
		{clusters, add, func(w *world, name string) { w.clusters[name] += time.Second }, remove},
		{endpoints, add, func(w *world, name string) { w.addresses[name] += "1" }, remove},
		{
			listeners,
			func(w *world, name string) { w.listeners[name] = "alpha" },
			func(w *world, name string) { w.listeners[name] = "beta" },
			func(w *world, name string) { delete(w.listeners, name) },
		},
	}
}

// TestDeltaRules goes through what the protocol's description demands of a server
// of the incremental variant, for each kind alike, and that it never says more
// than that. No client is at hand that others wrote for this variant; these are
// the messages that such a client sends.
func TestDeltaRules(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.kind.String(), func(t *testing.T) {
			s, w := start(t), newWorld(t)
			for _, name := range []string{"one", "two"} {
				r.add(w, name)
			}
			w.set(s.Server)
			c := s.delta()
			expect := func(words string) map[string]string {
				t.Helper()
				return versions(wantDelta(c, r.kind.String()+" "+words))
			}

			// One after the other, each answered by itself.
			c.send(subscribe(r.kind, "one"))
			first := expect("one")
			c.send(subscribe(r.kind, "two"))
			expect("two")
			// A change brings that one, with another version.
			r.change(w, "one")
			w.set(s.Server)
			if second := expect("one"); second["one"] == first["one"] {
				t.Error("the version has not changed")
			}
			// What isn't there is said not to be there, and comes when it is.
			c.send(subscribe(r.kind, "three"))
			expect("-three")
			r.add(w, "three")
			w.set(s.Server)
			expect("three")
			// What goes is said to have gone, and comes again when it is back.
			r.remove(w, "three")
			w.set(s.Server)
			expect("-three")
			r.add(w, "three")
			w.set(s.Server)
			expect("three")
			// What is no longer subscribed to is not spoken of any more.
			for _, name := range []string{"one", "two"} {
				leave := subscribe(r.kind)
				leave.ResourceNamesUnsubscribe = []string{name}
				c.send(leave)
			}
			c.send(subscribe(extensions, "workload_metadata")) // answered after that
			wantDelta(c, "extension workload_metadata")
			r.change(w, "one")
			r.remove(w, "two")
			r.change(w, "three")
			w.set(s.Server)
			expect("three")
			// Nor of what never was.
			r.add(w, "four")
			w.set(s.Server)
			w.extension = "second"
			w.set(s.Server)
			wantDelta(c, "extension workload_metadata")
			c.quiet()
		})
	}
}
