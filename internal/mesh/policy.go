// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"time"
)

// RootNamespace is the namespace whose policies hold for the whole mesh, and which
// the ztunnels are in.
const RootNamespace = "istio-system"

// AnnotationDryRun on an AuthorizationPolicy, with the value "true", has it
// counted and not enforced.
const AnnotationDryRun = "istio.io/dry-run"

// AuthorizationPolicy says who may connect to the workloads it selects, as far as
// that can be decided without reading what is sent.
type AuthorizationPolicy struct {
	Namespace string
	Name      string
	Action    Action
	DryRun    bool              // what it would do is counted, and not done
	Selector  map[string]string // labels that a workload must have, all of them; empty selects all
	Rules     []Rule            // any of them makes the policy apply; none never does
}

// Action is what happens to a connection that a policy applies to.
type Action int

// The actions, with the numbers they have in the API.
const (
	Allow Action = 0
	Deny  Action = 1
	Audit Action = 2
)

// String is the action's name in the API.
func (a Action) String() string {
	switch a {
	case Allow:
		return "ALLOW"
	case Deny:
		return "DENY"
	default:
		return "AUDIT"
	}
}

// Rule applies to a connection when a part of From, a part of To, and all
// conditions do. An empty list leaves its question open. Conditions (the API's
// "when") are put in the same terms: each speaks of the caller or of what is
// called.
type Rule struct {
	From       []Source
	To         []Operation
	WhenCaller []Source
	WhenCalled []Operation

	// Unusable are the fields of this rule that nothing can be held against when a
	// connection is opened: those of HTTP requests ("to[0].operation.methods"), and
	// broken ones. A rule that allows never applies then; one that denies applies
	// without them.
	Unusable []string
}

// Source describes callers. A list that is not empty asks for a match with any of
// its entries; the Not lists for a match with none.
type Source struct {
	Principals, NotPrincipals         []string // "cluster.local/ns/default/sa/sleep", "*", "prefix*", "*suffix"
	Namespaces, NotNamespaces         []string // may have "*" anywhere
	RemoteIPBlocks, NotRemoteIPBlocks []netip.Prefix
	IPBlocks, NotIPBlocks             []netip.Prefix // the address at the other end of the connection itself
}

// Operation describes what is called, in lists as a Source has them. The API
// knows addresses and names in conditions only.
type Operation struct {
	Ports, NotPorts       []uint16
	IPBlocks, NotIPBlocks []netip.Prefix // destination addresses
	SNI, NotSNI           []string       // names in the TLS handshake: exact, "*", "prefix*", "*suffix"
}

// PeerAuthentication says whether the workloads it selects take connections
// without mutual TLS.
type PeerAuthentication struct {
	Namespace string
	Name      string
	Created   time.Time         // of several that select a workload at one level, the oldest counts
	Selector  map[string]string // empty: the whole namespace, or the mesh in RootNamespace
	Mode      MTLSMode
	Ports     map[uint16]MTLSMode // ports of the workload that differ
}

// MTLSMode is a mode of mutual TLS.
type MTLSMode int

// The modes, with the numbers they have in the API. Unset asks the next wider
// policy; without any, MTLSPermissive holds.
const (
	MTLSUnset      MTLSMode = 0
	MTLSDisable    MTLSMode = 1
	MTLSPermissive MTLSMode = 2
	MTLSStrict     MTLSMode = 3
)
