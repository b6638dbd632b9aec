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
		s.AddKnownTypes(v, &AuthorizationPolicy{}, &AuthorizationPolicyList{}, &PeerAuthentication{}, &PeerAuthenticationList{})
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

// AuthorizationPolicyList is a list as the API server gives it.
type AuthorizationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []*AuthorizationPolicy `json:"items"`
}

// PeerAuthenticationList is a list as the API server gives it.
type PeerAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []*PeerAuthentication `json:"items"`
}

// DeepCopyObject is a copy that shares nothing with p.
func (p *AuthorizationPolicy) DeepCopyObject() runtime.Object { return p.deepCopy() }

func (p *AuthorizationPolicy) deepCopy() *AuthorizationPolicy {
	c := &AuthorizationPolicy{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Status: p.Status.DeepCopy()}
	p.Spec.DeepCopyInto(&c.Spec)
	return c
}

// DeepCopyObject is a copy that shares nothing with p.
func (p *PeerAuthentication) DeepCopyObject() runtime.Object { return p.deepCopy() }

func (p *PeerAuthentication) deepCopy() *PeerAuthentication {
	c := &PeerAuthentication{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Status: p.Status.DeepCopy()}
	p.Spec.DeepCopyInto(&c.Spec)
	return c
}

// DeepCopyObject is a copy that shares nothing with l.
func (l *AuthorizationPolicyList) DeepCopyObject() runtime.Object {
	c := &AuthorizationPolicyList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	for _, p := range l.Items {
		c.Items = append(c.Items, p.deepCopy())
	}
	return c
}

// DeepCopyObject is a copy that shares nothing with l.
func (l *PeerAuthenticationList) DeepCopyObject() runtime.Object {
	c := &PeerAuthenticationList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	for _, p := range l.Items {
		c.Items = append(c.Items, p.deepCopy())
	}
	return c
}
