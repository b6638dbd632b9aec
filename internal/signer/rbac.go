// SPDX-License-Identifier: Apache-2.0

package signer

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/ambient22/ambient22/internal/csr"
)

// ClusterRules are the permissions that a signer needs in the whole cluster, and no
// more. It can approve and sign for its own name only; deleting requests can't be
// limited to a name by Kubernetes.
func ClusterRules() []rbacv1.PolicyRule {
	group := []string{certificatesv1.GroupName}
	return []rbacv1.PolicyRule{
		{APIGroups: group, Resources: []string{"certificatesigningrequests"}, Verbs: []string{"list", "watch", "delete"}},
		{APIGroups: group, Resources: []string{"certificatesigningrequests/approval", "certificatesigningrequests/status"}, Verbs: []string{"update"}},
		{APIGroups: group, Resources: []string{"signers"}, ResourceNames: []string{csr.SignerName}, Verbs: []string{"approve", "sign"}},
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"nodes"}, Verbs: []string{"get"}},
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"pods"}, Verbs: []string{"list"}},
	}
}

// NamespaceRules are the permissions that it needs beside those in its own
// namespace. Creating can't be limited to a name by Kubernetes.
func NamespaceRules(secret, bundle, lease string) []rbacv1.PolicyRule {
	rule := func(group, resource, name string, verbs ...string) rbacv1.PolicyRule {
		r := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
		if name != "" {
			r.ResourceNames = []string{name}
		}
		return r
	}
	return []rbacv1.PolicyRule{
		rule(corev1.GroupName, "secrets", secret, "get", "list", "watch", "update"),
		rule(corev1.GroupName, "secrets", "", "create"),
		rule(corev1.GroupName, "configmaps", bundle, "get", "list", "watch", "update"),
		rule(corev1.GroupName, "configmaps", "", "create"),
		rule(coordinationv1.GroupName, "leases", lease, "get", "update"),
		rule(coordinationv1.GroupName, "leases", "", "create"),
	}
}
