// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

func networkRBAC(m *networkrbacv3.RBAC) (*rbac.Filter, error) {
	f := &rbac.Filter{StatPrefix: m.GetStatPrefix(), ShadowStatPrefix: m.GetShadowRulesStatPrefix()}
	return f, rbacEngines(f, m.GetRules(), m.GetShadowRules(), false)
}

func httpRBAC(m *httprbacv3.RBAC) (*rbac.Filter, error) {
	f := &rbac.Filter{RulesStatPrefix: m.GetRulesStatPrefix(), ShadowStatPrefix: m.GetShadowRulesStatPrefix()}
	return f, rbacEngines(f, m.GetRules(), m.GetShadowRules(), true)
}

// rbacEngines decodes both sets of policies; http says that there are headers.
func rbacEngines(f *rbac.Filter, rules, shadow *rbacv3.RBAC, http bool) error {
	d := ruleDecoder{http: http}
	var err error
	if f.Rules, err = d.engine(rules); err != nil {
		return in(err, "rules")
	}
	if f.Shadow, err = d.engine(shadow); err != nil {
		return in(err, "shadow_rules")
	}
	return nil
}

// ruleDecoder decodes policies.
type ruleDecoder struct{ http bool }

// engine is nil for a resource that is not there, and denies everything for an
// empty one, as in Envoy.
func (d ruleDecoder) engine(m *rbacv3.RBAC) (*rbac.Engine, error) {
	if m == nil {
		return nil, nil
	}
	var policies []rbac.Policy
	for name, p := range m.GetPolicies() {
		policy, err := d.policy(name, p)
		if err != nil {
			return nil, in(err, "policies[%q]", name)
		}
		policies = append(policies, policy)
	}
	return rbac.NewEngine(m.GetAction() == rbacv3.RBAC_DENY, policies), nil
}

func (d ruleDecoder) policy(name string, m *rbacv3.Policy) (rbac.Policy, error) {
	p := rbac.Policy{Name: name}
	var err error
	if p.Permissions, err = rules(m.GetPermissions(), d.permission, "permissions"); err != nil {
		return p, err
	}
	p.Principals, err = rules(m.GetPrincipals(), d.principal, "principals")
	return p, err
}

// rules decodes a list of permissions or principals, which a field holds.
func rules[M any](list []M, one func(M) (rbac.Rule, error), field string) ([]rbac.Rule, error) {
	out := make([]rbac.Rule, 0, len(list))
	for i, m := range list {
		r, err := one(m)
		if err != nil {
			return nil, in(err, "%s[%d]", field, i)
		}
		out = append(out, r)
	}
	return out, nil
}

func (d ruleDecoder) permission(m *rbacv3.Permission) (rbac.Rule, error) {
	switch p := m.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return rbac.Any, nil
	case *rbacv3.Permission_AndRules:
		list, err := rules(p.AndRules.GetRules(), d.permission, "and_rules.rules")
		return rbac.All(list), err
	case *rbacv3.Permission_OrRules:
		list, err := rules(p.OrRules.GetRules(), d.permission, "or_rules.rules")
		return rbac.OneOf(list), err
	case *rbacv3.Permission_NotRule:
		return not(p.NotRule, d.permission, "not_rule")
	case *rbacv3.Permission_DestinationIp:
		return blockRule(p.DestinationIp, rbac.DestinationIP, "destination_ip")
	case *rbacv3.Permission_DestinationPort:
		if p.DestinationPort > 65535 {
			return nil, fmt.Errorf("destination_port: %d is not a port", p.DestinationPort)
		}
		return rbac.DestinationPort(uint16(p.DestinationPort)), nil
	case *rbacv3.Permission_RequestedServerName:
		name, err := text(p.RequestedServerName)
		if err != nil {
			return nil, in(err, "requested_server_name")
		}
		return rbac.RequestedServerName(name), nil
	case *rbacv3.Permission_Header:
		return d.header(p.Header)
	}
	return nil, errors.New("rule: is missing")
}

func (d ruleDecoder) principal(m *rbacv3.Principal) (rbac.Rule, error) {
	switch p := m.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return rbac.Any, nil
	case *rbacv3.Principal_AndIds:
		list, err := rules(p.AndIds.GetIds(), d.principal, "and_ids.ids")
		return rbac.All(list), err
	case *rbacv3.Principal_OrIds:
		list, err := rules(p.OrIds.GetIds(), d.principal, "or_ids.ids")
		return rbac.OneOf(list), err
	case *rbacv3.Principal_NotId:
		return not(p.NotId, d.principal, "not_id")
	case *rbacv3.Principal_Authenticated_:
		return authenticated(p.Authenticated)
	case *rbacv3.Principal_SourceIp:
		return blockRule(p.SourceIp, rbac.RemoteIP, "source_ip")
	case *rbacv3.Principal_DirectRemoteIp:
		return blockRule(p.DirectRemoteIp, rbac.RemoteIP, "direct_remote_ip")
	case *rbacv3.Principal_RemoteIp:
		return blockRule(p.RemoteIp, rbac.RemoteIP, "remote_ip")
	case *rbacv3.Principal_Header:
		return d.header(p.Header)
	}
	return nil, errors.New("identifier: is missing")
}

func not[M any](m M, one func(M) (rbac.Rule, error), field string) (rbac.Rule, error) {
	r, err := one(m)
	if err != nil {
		return nil, in(err, "%s", field)
	}
	return rbac.Not(r), nil
}

func authenticated(m *rbacv3.Principal_Authenticated) (rbac.Rule, error) {
	if m.GetPrincipalName() == nil {
		return rbac.Authenticated(nil), nil
	}
	name, err := text(m.GetPrincipalName())
	if err != nil {
		return nil, in(err, "authenticated.principal_name")
	}
	return rbac.Authenticated(name), nil
}

func (d ruleDecoder) header(m *routev3.HeaderMatcher) (rbac.Rule, error) {
	if !d.http {
		return nil, errors.New("header: is not supported in a network filter, which sees no request")
	}
	h, err := header(m)
	if err != nil {
		return nil, in(err, "header")
	}
	return rbac.Header(h), nil
}

func blockRule(r *corev3.CidrRange, rule func(netip.Prefix) rbac.Rule, field string) (rbac.Rule, error) {
	p, err := block(r)
	if err != nil {
		return nil, in(err, "%s", field)
	}
	return rule(p), nil
}

// block is an address block of either IP version. Host bits do not count.
func block(r *corev3.CidrRange) (netip.Prefix, error) {
	ip, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		return netip.Prefix{}, in(err, "address_prefix")
	}
	p := netip.PrefixFrom(ip.WithZone("").Unmap(), int(r.GetPrefixLen().GetValue()))
	if !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("prefix_len: %d is too long for %s", r.GetPrefixLen().GetValue(), ip)
	}
	return p.Masked(), nil
}
