// SPDX-License-Identifier: Apache-2.0

package kube

import (
	securityv1beta1 "istio.io/api/security/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SecurityGroup is the API group of the policies.
const SecurityGroup = "security.istio.io"

// SecurityVersions are the versions of it that are read here, the one to write
// first. They do not differ.
func SecurityVersions() []schema.GroupVersion {
	return []schema.GroupVersion{{Group: SecurityGroup, Version: "v1"}, {Group: SecurityGroup, Version: "v1beta1"}}
}

// AddSecurityToScheme makes the policies known to a scheme, in all versions.
func AddSecurityToScheme(s *runtime.Scheme) {
	for _, v := range SecurityVersions() {
		s.AddKnownTypes(v, &AuthorizationPolicy{}, &PeerAuthentication{})
		metav1.AddToGroupVersion(s, v)
	}
}

// AuthorizationPolicy is the custom resource of that name. What stands in its
// status is not read.
type AuthorizationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              securityv1beta1.AuthorizationPolicy `json:"spec"`
	Status            *runtime.RawExtension               `json:"status,omitempty"`
}

// PeerAuthentication is the custom resource of that name. What stands in its
// status is not read.
type PeerAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              securityv1beta1.PeerAuthentication `json:"spec"`
	Status            *runtime.RawExtension              `json:"status,omitempty"`
}

// DeepCopyObject is a copy that shares nothing with p.
func (p *AuthorizationPolicy) DeepCopyObject() runtime.Object {
	c := &AuthorizationPolicy{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Status: p.Status.DeepCopy()}
	p.Spec.DeepCopyInto(&c.Spec)
	return c
}

// DeepCopyObject is a copy that shares nothing with p.
func (p *PeerAuthentication) DeepCopyObject() runtime.Object {
	c := &PeerAuthentication{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Status: p.Status.DeepCopy()}
	p.Spec.DeepCopyInto(&c.Spec)
	return c
}
