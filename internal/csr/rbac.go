// SPDX-License-Identifier: Apache-2.0

package csr

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// ClusterRules are the permissions that a source needs in the whole cluster, and no
// more: it can neither approve nor change nor delete a request.
func ClusterRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{certificatesv1.GroupName}, Resources: []string{"certificatesigningrequests"},
		Verbs: []string{"create", "list", "watch"},
	}}
}

// NamespaceRules are the permissions that it needs beside those in the namespace of
// the trust bundle.
func NamespaceRules(bundle string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{corev1.GroupName}, Resources: []string{"configmaps"}, ResourceNames: []string{bundle},
		Verbs: []string{"list", "watch"},
	}}
}
