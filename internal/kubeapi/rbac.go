// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/ambient22/ambient22/internal/kube"
)

// ClusterRules are the permissions that a source needs in the whole cluster, and
// no more. Whether the security API is there is asked of the discovery endpoints,
// which Kubernetes opens to every authenticated client.
func ClusterRules() []rbacv1.PolicyRule {
	follow := []string{"list", "watch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"nodes", "namespaces", "pods", "services"}, Verbs: follow},
		{APIGroups: []string{discoveryv1.GroupName}, Resources: []string{"endpointslices"}, Verbs: follow},
		{APIGroups: []string{kube.SecurityGroup}, Resources: []string{"authorizationpolicies", "peerauthentications"}, Verbs: follow},
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"pods"}, Verbs: []string{"get"}},          // a fresh look
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}}, // the annotation
		{APIGroups: []string{corev1.GroupName}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	}
}

// NamespaceRules are the permissions that it needs beside those in the namespace of
// the ConfigMap.
func NamespaceRules(configMap string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{corev1.GroupName}, Resources: []string{"configmaps"}, ResourceNames: []string{configMap},
		Verbs: []string{"list", "watch"},
	}}
}
