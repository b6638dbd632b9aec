// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// settleDuplicates leaves every address and every UID to one pod. When a pod's
// address is given to a new pod while the old one is still listed, the newer has
// it; a pod that is being deleted gives way first.
func (b *builder) settleDuplicates() {
	workloads := b.snapshot.Workloads
	slices.SortFunc(workloads, func(x, y mesh.Workload) int {
		if x.Terminating != y.Terminating {
			if y.Terminating {
				return -1
			}
			return 1
		}
		return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	b.addresses = make(map[netip.Addr]Ref, len(workloads))
	uids := make(map[string]Ref, len(workloads))
	b.snapshot.Workloads = slices.DeleteFunc(workloads, func(w mesh.Workload) bool {
		at := b.about(KindPod, w.Namespace, w.Name)
		if other, taken := uids[w.UID]; taken {
			return at.drop(w, "metadata.uid", fmt.Sprintf("%s is the UID of %s too", w.UID, other))
		}
		if other, taken := b.addresses[w.IP]; taken && !w.HostNetwork {
			return at.drop(w, "status.podIP", fmt.Sprintf("%s is the address of %s too", w.IP, other))
		}
		uids[w.UID] = at.ref
		if !w.HostNetwork {
			b.addresses[w.IP] = at.ref
		}
		return false
	})
}

// drop leaves a workload out again.
func (at subject) drop(w mesh.Workload, field, what string) bool {
	at.problem(field, "give each pod its own", "%s", what)
	at.b.snapshot.LeftOut = append(at.b.snapshot.LeftOut, mesh.LeftOut{
		UID: w.UID, Namespace: w.Namespace, Name: w.Name, Node: w.Node, Why: field + " " + what,
	})
	return true
}
