// SPDX-License-Identifier: Apache-2.0

package mesh

// DefaultTrustDomain is the trust domain of an unconfigured mesh.
const DefaultTrustDomain = "cluster.local"

// Identity is a SPIFFE identity of a Kubernetes service account.
type Identity struct {
	TrustDomain    string
	Namespace      string
	ServiceAccount string
}

// String is the identity's SPIFFE URI: spiffe://<trust domain>/ns/<ns>/sa/<sa>.
func (i Identity) String() string {
	return "spiffe://" + i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount
}

// Identity is the workload's identity in this mesh.
func (s *Snapshot) Identity(w *Workload) Identity {
	return Identity{TrustDomain: s.TrustDomain, Namespace: w.Namespace, ServiceAccount: w.ServiceAccount}
}

// SecretName is the name under which the workload's own certificate is served
// over SDS: <SPIFFE URI>~<pod name>~<pod UID> (listing 13).
func (s *Snapshot) SecretName(w *Workload) string {
	return s.Identity(w).String() + "~" + w.Name + "~" + w.UID
}
