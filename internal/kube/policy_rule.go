// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"strings"

	securityv1beta1 "istio.io/api/security/v1beta1"

	"github.com/ambient22/ambient22/internal/mesh"
)

// ruleReader reads one rule of a policy.
type ruleReader struct {
	subject
	field string // of the rule
	rule  mesh.Rule
}

// rule reads a rule, which may be empty: that one applies to everything.
func (at subject) rule(field string, r *securityv1beta1.Rule) mesh.Rule {
	read := &ruleReader{subject: at, field: field}
	for i, f := range r.GetFrom() {
		read.from(fmt.Sprintf("from[%d].source", i), f.GetSource())
	}
	for i, t := range r.GetTo() {
		read.to(fmt.Sprintf("to[%d].operation", i), t.GetOperation())
	}
	for i, c := range r.GetWhen() {
		read.when(fmt.Sprintf("when[%d]", i), c)
	}
	return read.rule
}

// wrong reports a field, and that the rule has to do without it.
func (r *ruleReader) wrong(field, fix, format string, args ...any) {
	r.problem(r.field+"."+field, fix, format, args...)
	r.unusable(field)
}

// unusable notes a field that no connection can be held against.
func (r *ruleReader) unusable(field string) { r.rule.Unusable = append(r.rule.Unusable, field) }

func (r *ruleReader) from(field string, s *securityv1beta1.Source) {
	read := r.listsOf(field)
	source := mesh.Source{
		Principals:        read.principals("principals", s.GetPrincipals()),
		NotPrincipals:     read.principals("notPrincipals", s.GetNotPrincipals()),
		Namespaces:        read.namespaces("namespaces", s.GetNamespaces()),
		NotNamespaces:     read.namespaces("notNamespaces", s.GetNotNamespaces()),
		RemoteIPBlocks:    read.blocks("remoteIpBlocks", s.GetRemoteIpBlocks()),
		NotRemoteIPBlocks: read.blocks("notRemoteIpBlocks", s.GetNotRemoteIpBlocks()),
		IPBlocks:          read.blocks("ipBlocks", s.GetIpBlocks()),
		NotIPBlocks:       read.blocks("notIpBlocks", s.GetNotIpBlocks()),
	}
	read.request("requestPrincipals", s.GetRequestPrincipals())
	read.request("notRequestPrincipals", s.GetNotRequestPrincipals())
	const asPrincipals = `write principals, as in "cluster.local/ns/default/sa/sleep"`
	read.later("serviceAccounts", s.GetServiceAccounts(), asPrincipals)
	read.later("notServiceAccounts", s.GetNotServiceAccounts(), asPrincipals)
	const asPrefix = `write principals that begin with it, as in "cluster.local/*"`
	read.later("trustDomains", s.GetTrustDomains(), asPrefix)
	read.later("notTrustDomains", s.GetNotTrustDomains(), asPrefix)
	if !read.any {
		r.wrong(field, "name principals, namespaces or addresses; leave from out to mean everybody", "it is empty")
	}
	r.rule.From = append(r.rule.From, source)
}

func (r *ruleReader) to(field string, o *securityv1beta1.Operation) {
	read := r.listsOf(field)
	operation := mesh.Operation{Ports: read.ports("ports", o.GetPorts()), NotPorts: read.ports("notPorts", o.GetNotPorts())}
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"hosts", o.GetHosts()}, {"notHosts", o.GetNotHosts()},
		{"methods", o.GetMethods()}, {"notMethods", o.GetNotMethods()},
		{"paths", o.GetPaths()}, {"notPaths", o.GetNotPaths()},
	} {
		read.request(list.name, list.values)
	}
	if !read.any {
		r.wrong(field, "name ports; leave to out to mean everything", "it is empty")
	}
	r.rule.To = append(r.rule.To, operation)
}

// Keys of conditions that a connection has. Others are those of HTTP requests.
const (
	keySourceIP        = "source.ip"
	keyRemoteIP        = "remote.ip"
	keySourceNamespace = "source.namespace"
	keySourcePrincipal = "source.principal"
	keyDestinationIP   = "destination.ip"
	keyDestinationPort = "destination.port"
	keySNI             = "connection.sni"
)

func (r *ruleReader) when(field string, c *securityv1beta1.Condition) {
	values, not := c.GetValues(), c.GetNotValues()
	if len(values) == 0 && len(not) == 0 {
		r.wrong(field, "write values or notValues", "a condition without any asks for nothing")
		return
	}
	read := r.listsOf(field)
	switch key := c.GetKey(); key {
	case keySourceIP:
		r.whenCaller(mesh.Source{IPBlocks: read.blocks("values", values), NotIPBlocks: read.blocks("notValues", not)})
	case keyRemoteIP:
		r.whenCaller(mesh.Source{RemoteIPBlocks: read.blocks("values", values), NotRemoteIPBlocks: read.blocks("notValues", not)})
	case keySourceNamespace:
		r.whenCaller(mesh.Source{Namespaces: read.namespaces("values", values), NotNamespaces: read.namespaces("notValues", not)})
	case keySourcePrincipal:
		r.whenCaller(mesh.Source{Principals: read.principals("values", values), NotPrincipals: read.principals("notValues", not)})
	case keyDestinationIP:
		r.whenCalled(mesh.Operation{IPBlocks: read.blocks("values", values), NotIPBlocks: read.blocks("notValues", not)})
	case keyDestinationPort:
		r.whenCalled(mesh.Operation{Ports: read.ports("values", values), NotPorts: read.ports("notValues", not)})
	case keySNI:
		r.whenCalled(mesh.Operation{SNI: read.patterns("values", values), NotSNI: read.patterns("notValues", not)})
	default:
		r.otherKey(field+".key", key)
	}
}

func (r *ruleReader) whenCaller(s mesh.Source) { r.rule.WhenCaller = append(r.rule.WhenCaller, s) }

func (r *ruleReader) whenCalled(o mesh.Operation) { r.rule.WhenCalled = append(r.rule.WhenCalled, o) }

// otherKey tells keys of HTTP requests, which are well but of no use here, from
// mistakes.
func (r *ruleReader) otherKey(field, key string) {
	switch {
	case strings.HasPrefix(key, "request.headers["), strings.HasPrefix(key, "request.auth."):
		r.unusable(field)
	case strings.HasPrefix(key, "experimental.envoy.filters."):
		r.wrong(field, "leave the condition out", "a ztunnel has no filter whose metadata %q could name", key)
	default:
		r.wrong(field, "write one of source.ip, remote.ip, source.namespace, source.principal, destination.ip, destination.port, connection.sni", "there is no %q", key)
	}
}
