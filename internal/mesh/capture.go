// SPDX-License-Identifier: Apache-2.0

package mesh

import "net/netip"

// Capture is what a node does with its pods at one moment: not what the mesh
// asks for, but what was put into the kernel. Pods are named by UID. Nobody
// changes one that has been handed out.
//
// A pod that Snapshot wants captured, and that stands nowhere here, is on its
// way, unless Err says otherwise.
type Capture struct {
	Snapshot *Snapshot             // the one that was worked on
	Pods     map[string]netip.Addr // captured at this address
	Refused  map[string]string     // can't be captured, and why, in words for a person
	// Err is why the node could not be made to agree with Snapshot, in words for a
	// person, and empty where it was, or where nobody knows yet.
	Err string
}
