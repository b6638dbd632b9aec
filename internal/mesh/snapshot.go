// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"time"
)

// Snapshot is one mesh at one moment. Its slices are sorted (nodes by name,
// workloads, services and policies by namespace and name), so equal meshes are equal
// values whatever order their objects were read in.
type Snapshot struct {
	TrustDomain         string // SPIFFE trust domain, "cluster.local" unless configured
	Nodes               []Node
	Workloads           []Workload
	Services            []Service
	Policies            []AuthorizationPolicy
	PeerAuthentications []PeerAuthentication
	LeftOut             []LeftOut // pods that are no workloads, and why; for people only
}

// Node is a Kubernetes node as far as the data path needs it.
type Node struct {
	Name       string
	InternalIP netip.Addr
	PodCIDR    netip.Prefix // zero where the node has none
}

// Class says what a pod is to the mesh.
type Class int

// The classes of a pod. A pod of class Outside has no entry of its own in any
// xDS resource; it may still stand behind a service as a plain endpoint.
const (
	Outside  Class = iota // inactive namespace, or a sidecar
	InMesh                // in an active namespace and not opted out
	OptedOut              // active namespace, but label ambient-type: none
	Waypoint              // label ambient-type: waypoint
	Ztunnel               // label app=ztunnel, in RootNamespace
)

// Workload is one running pod with an address.
type Workload struct {
	UID            string
	Namespace      string
	Name           string
	ServiceAccount string
	Node           string
	IP             netip.Addr // IPv4 always; sources refuse anything else
	HostNetwork    bool
	Labels         map[string]string
	Containers     []string // names, in the pod's order
	Owner          Owner
	Created        time.Time
	Ready          bool // the pod's Ready condition
	Terminating    bool
	DNSCapture     bool // a ztunnel that wants the pods' DNS queries (ISTIO_META_DNS_CAPTURE=true)

	Class Class
	// NotEnrolled is why the node does not capture this pod, in words for a
	// person, and empty where it does.
	NotEnrolled string
}

// LeftOut is a pod that no part of the data path knows: it does not run, has no
// usable address, or its object is broken.
type LeftOut struct {
	UID       string
	Namespace string
	Name      string
	Node      string // "" while it is not scheduled
	Why       string // in words for a person: "it is Pending, not Running"
}

// Enrolled reports whether the pod's node captures its traffic.
func (w *Workload) Enrolled() bool { return w.NotEnrolled == "" }

// NativeHBONE reports whether the pod ends tunnels itself, so that what comes to
// its port 15008 is handed to it as it is.
func (w *Workload) NativeHBONE() bool {
	switch w.Labels[LabelTunnel] {
	case TunnelH2, TunnelHTTP:
		return true
	}
	return false
}

// Owner is the controller a person would name: the Deployment behind the
// ReplicaSet, the CronJob behind the Job, or the pod itself.
type Owner struct {
	Kind OwnerKind
	Name string
}

// OwnerKind is a WorkloadMetadataResource.WorkloadType of the ECDS resource. Every
// controller without a value of its own counts as a Deployment, as in 2022.
type OwnerKind int

// The owner kinds, with the numbers they have on the wire.
const (
	OwnerDeployment OwnerKind = 0
	OwnerCronJob    OwnerKind = 1
	OwnerPod        OwnerKind = 2
	OwnerJob        OwnerKind = 3
)

// Service is a Kubernetes service with the endpoints of its EndpointSlices.
type Service struct {
	Namespace string
	Name      string
	VIP       netip.Addr        // zero for a headless service
	Selector  map[string]string // labels of the pods behind it; empty where its endpoints are written by others
	Ports     []ServicePort     // by number
}

// Hostname is the service's name in the cluster's DNS.
func (s *Service) Hostname() string {
	return s.Name + "." + s.Namespace + ".svc.cluster.local"
}

// ServicePort is one TCP port of a service; other protocols are left out by the
// source, because the 2022 data path carries TCP only.
type ServicePort struct {
	Name      string // "" where the service names none
	Number    uint16
	Endpoints []Endpoint // ready ones, sorted by address and port
}

// Endpoint is one ready address behind a service port.
type Endpoint struct {
	IP   netip.Addr
	Port uint16
}
