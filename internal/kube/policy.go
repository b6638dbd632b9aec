// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	securityv1beta1 "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/mesh"
)

// addPolicies reads authorization policies. Where a part of one is broken, what is
// left of it errs on the side of refusing: a rule that allows falls away, one that
// denies applies without that part.
func (b *builder) addPolicies(policies []*AuthorizationPolicy) {
	for _, p := range inOrder(b, KindAuthorizationPolicy, policies) {
		at := b.about(KindAuthorizationPolicy, p.Namespace, p.Name)
		action, ok := at.action(p.Spec.Action)
		selector, selects := at.selector(p.Spec.Selector)
		if !at.policyNames(p.Namespace, p.Name) || !ok || !selects || !at.onWorkloads(&p.Spec) {
			continue
		}
		policy := mesh.AuthorizationPolicy{
			Namespace: p.Namespace, Name: p.Name, Action: action, DryRun: at.dryRun(p), Selector: selector,
		}
		for i, r := range p.Spec.Rules {
			policy.Rules = append(policy.Rules, at.rule(fmt.Sprintf("spec.rules[%d]", i), r))
		}
		b.snapshot.Policies = append(b.snapshot.Policies, policy)
	}
}

func (at subject) policyNames(namespace, name string) bool {
	named := at.validName("metadata.name", name, validation.IsDNS1123Subdomain)
	return at.validName("metadata.namespace", namespace, validation.IsDNS1123Label) && named
}

func (at subject) action(a securityv1beta1.AuthorizationPolicy_Action) (action mesh.Action, ok bool) {
	switch a {
	case securityv1beta1.AuthorizationPolicy_ALLOW:
		return mesh.Allow, true
	case securityv1beta1.AuthorizationPolicy_DENY:
		return mesh.Deny, true
	case securityv1beta1.AuthorizationPolicy_AUDIT:
		return mesh.Audit, true
	case securityv1beta1.AuthorizationPolicy_CUSTOM:
		at.problem("spec.action", "write ALLOW or DENY, or leave CUSTOM policies to a waypoint's own control plane",
			"CUSTOM asks another server, which a ztunnel does not do")
	default:
		at.problem("spec.action", "write ALLOW, DENY or AUDIT", "there is no action %d", a)
	}
	return action, false
}

// selector are the labels that a workload must have; none selects all.
func (at subject) selector(s *typev1beta1.WorkloadSelector) (set map[string]string, ok bool) {
	ok = true
	for _, key := range slices.Sorted(maps.Keys(s.GetMatchLabels())) {
		value := s.MatchLabels[key]
		field := fmt.Sprintf("spec.selector.matchLabels[%q]", key)
		switch {
		case strings.Contains(key, "*") || strings.Contains(value, "*"):
			at.problem(field, "write whole labels, or leave the selector out to select all", "a selector knows no wildcards")
			ok = false
		case !at.validName(field, key, validation.IsQualifiedName) || !at.validName(field, value, validation.IsValidLabelValue):
			ok = false
		}
	}
	return s.GetMatchLabels(), ok
}

// onWorkloads refuses what later releases attach to gateways: here it would hold
// for every workload of the namespace.
func (at subject) onWorkloads(spec *securityv1beta1.AuthorizationPolicy) bool {
	const fix = "select workloads by spec.selector"
	if spec.TargetRef != nil {
		at.problem("spec.targetRef", fix, "policies for gateways and services are not known here")
		return false
	}
	if len(spec.TargetRefs) > 0 {
		at.problem("spec.targetRefs", fix, "policies for gateways and services are not known here")
		return false
	}
	if spec.ActionDetail != nil {
		at.problem("spec.provider", "leave it out", "only the action CUSTOM has a provider")
		return false
	}
	return true
}

func (at subject) dryRun(p *AuthorizationPolicy) bool {
	text, ok := p.Annotations[mesh.AnnotationDryRun]
	if !ok {
		return false
	}
	dry, err := strconv.ParseBool(text)
	if err != nil {
		at.problem(fmt.Sprintf("metadata.annotations[%q]", mesh.AnnotationDryRun), "write true or false", "%q is neither", text)
	}
	return dry
}
