// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	networkRBACFilter = "envoy.filters.network.rbac"
	rbacStatPrefix    = "tcp."
	dryRunAllowPrefix = "istio_dry_run_allow_"
	dryRunDenyPrefix  = "istio_dry_run_deny_"
)

// networkRBAC are the filters that let in whom the policies of a pod do: first
// the one that denies, then the one that allows, each where there are policies for
// it. They stand before the last filter of a chain.
//
// On port 15008 they see the tunnel, not what is in it: a policy on ports is held
// against 15008 there, and one on addresses against the ztunnel that opened it.
func (b *builder) networkRBAC(s policySet) []*listenerv3.Filter {
	var filters []*listenerv3.Filter
	for _, r := range s.rulings(b.rules) {
		filters = append(filters, b.rulingFilter(r))
	}
	return filters
}

func (b *builder) rulingFilter(r ruling) *listenerv3.Filter {
	return networkFilter(networkRBACFilter, b.any(&networkrbacv3.RBAC{
		Rules:                 r.enforced,
		ShadowRules:           r.shadow,
		ShadowRulesStatPrefix: r.shadowPrefix(),
		StatPrefix:            rbacStatPrefix,
	}))
}

// policySet are the policies of one pod that decide about connections.
type policySet struct {
	deny, allow []*mesh.AuthorizationPolicy
	key         string // names them all
}

// policiesOf leaves out what has no effect: AUDIT, which the proxy of 2022 logged
// nowhere, and policies that deny nothing for want of rules.
func policiesOf(s *mesh.Snapshot, w *mesh.Workload) policySet {
	var set policySet
	var key strings.Builder
	for _, p := range s.PoliciesOf(w) {
		switch {
		case p.Action == mesh.Allow:
			set.allow = append(set.allow, p)
		case p.Action == mesh.Deny && len(p.Rules) > 0:
			set.deny = append(set.deny, p)
		default:
			continue
		}
		key.WriteString(p.Namespace + "/" + p.Name + " ")
	}
	set.key = key.String()
	return set
}

// ruling is what one filter enforces. enforced is nil where all its policies are
// only tried; shadow where none is.
type ruling struct {
	enforced, shadow *rbacv3.RBAC
}

// shadowPrefix stands in front of the dry run's statistics, whether there is one
// or not.
func (r ruling) shadowPrefix() string {
	if r.shadow.GetAction() == rbacv3.RBAC_DENY {
		return dryRunDenyPrefix
	}
	return dryRunAllowPrefix
}

func (s policySet) rulings(w ruleWriter) []ruling {
	var all []ruling
	if len(s.deny) > 0 {
		all = append(all, ruleOn(s.deny, rbacv3.RBAC_DENY, w))
	}
	if len(s.allow) > 0 {
		all = append(all, ruleOn(s.allow, rbacv3.RBAC_ALLOW, w))
	}
	return all
}

func ruleOn(policies []*mesh.AuthorizationPolicy, action rbacv3.RBAC_Action, w ruleWriter) ruling {
	var r ruling
	for _, p := range policies {
		side := &r.enforced
		if p.DryRun {
			side = &r.shadow
		}
		if *side == nil {
			*side = &rbacv3.RBAC{Action: action, Policies: map[string]*rbacv3.Policy{}}
		}
		addRules((*side).Policies, p, w)
	}
	return r
}

// addRules adds one policy of Envoy's per rule. A policy that allows without any
// rule is there to allow nothing, and says so by one that never matches; so does
// a filter without policies, which is left where no rule can be enforced here.
func addRules(policies map[string]*rbacv3.Policy, p *mesh.AuthorizationPolicy, w ruleWriter) {
	if len(p.Rules) == 0 {
		policies[ruleName(p, 0)] = neverMatching()
	}
	for i := range p.Rules {
		rule := &p.Rules[i]
		if p.Action == mesh.Allow && len(rule.Unusable) > 0 {
			continue
		}
		policies[ruleName(p, i)] = w.policy(rule)
	}
}

// ruleName is how statistics and logs name a rule.
func ruleName(p *mesh.AuthorizationPolicy, rule int) string {
	return fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", p.Namespace, p.Name, rule)
}
