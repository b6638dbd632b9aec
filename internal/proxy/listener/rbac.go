// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"maps"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// The namespaces in which the filters leave what their shadow rules decided.
const (
	networkRBACMetadata = "envoy.filters.network.rbac"
	httpRBACMetadata    = "envoy.filters.http.rbac"
)

// admit asks the chain's network RBAC filters, and notes why one of them says no.
// They are asked as soon as the handshake is done, because nothing that a caller
// sends later can change their answer. Envoy waits for the first byte, and has
// opened the upstream connection by then.
func (c *connection) admit(filters []*rbac.Filter, r *record) bool {
	if len(filters) == 0 {
		return true
	}
	return c.judge(filters, c.facts(), "", networkRBACMetadata, r)
}

// admit asks the connection manager's RBAC filters about one request.
func (h *httpManager) admit(header func(string) (string, bool), r *record) bool {
	if len(h.cfg.RBAC) == 0 {
		return true
	}
	facts := *h.facts
	facts.Header = header
	return h.c.judge(h.cfg.RBAC, &facts, "http."+h.cfg.StatPrefix+".", httpRBACMetadata, r)
}

// facts is the connection as the rules see it.
func (c *connection) facts() *rbac.Request {
	f := &rbac.Request{Local: c.local, Remote: c.remote}
	if c.tls == nil {
		return f
	}
	f.SNI = c.tls.ServerName
	if len(c.tls.PeerCertificates) > 0 {
		f.Authenticated, f.Names = true, config.PeerNames(c.tls.PeerCertificates[0])
	}
	return f
}

// judge asks filters in order, until one denies. Each counts under its own prefix
// behind that of its surroundings.
func (c *connection) judge(filters []*rbac.Filter, facts *rbac.Request, prefix, namespace string, r *record) bool {
	for _, f := range filters {
		st := newRBACStats(c.listener.set.o.Stats, prefix, f)
		if f.Shadow != nil {
			allowed, policy := f.Shadow.Decide(facts)
			st.tried(allowed)
			r.noteShadow(namespace, f.ShadowStatPrefix, allowed, policy)
		}
		if f.Rules == nil {
			continue
		}
		allowed, policy := f.Rules.Decide(facts)
		st.decided(allowed)
		if !allowed {
			r.denied = rbac.DenialDetails(policy)
			c.listener.log().Debug("access denied", "remote", c.remoteText(), "local", c.localText(), "policy", policy, "peer", facts.Names)
			return false
		}
	}
	return true
}

// noteShadow leaves what shadow rules decided in the dynamic metadata. The
// record gets its own: a connection's requests are judged at the same time.
func (r *record) noteShadow(namespace, prefix string, allowed bool, policy string) {
	fields := maps.Clone(r.metadata[namespace].GetFields())
	if fields == nil {
		fields = make(map[string]*structpb.Value)
	}
	result := "denied"
	if allowed {
		result = "allowed"
	}
	fields[prefix+"shadow_engine_result"] = structpb.NewStringValue(result)
	if policy != "" {
		fields[prefix+"shadow_effective_policy_id"] = structpb.NewStringValue(policy)
	}
	r.metadata = maps.Clone(r.metadata)
	if r.metadata == nil {
		r.metadata = make(map[string]*structpb.Struct)
	}
	r.metadata[namespace] = &structpb.Struct{Fields: fields}
}
