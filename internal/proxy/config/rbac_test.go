// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// withNetworkRBAC is a listener whose pod's chain has that filter, as JSON.
func withNetworkRBAC(t testing.TB, filter string) *listenerv3.Listener {
	t.Helper()
	var m networkrbacv3.RBAC
	if err := protojson.Unmarshal([]byte(filter), &m); err != nil {
		t.Fatal(err)
	}
	l := find(t, article(t, "b").Listeners, "ztunnel_inbound_plaintext")
	f := &listenerv3.Filter{Name: "envoy.filters.network.rbac", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, &m)}}
	l.FilterChains[1].Filters = append([]*listenerv3.Filter{f}, l.FilterChains[1].Filters...)
	return l
}

// withHTTPRBAC is the same in front of the router.
func withHTTPRBAC(t testing.TB, filter string) *listenerv3.Listener {
	t.Helper()
	var m httprbacv3.RBAC
	if err := protojson.Unmarshal([]byte(filter), &m); err != nil {
		t.Fatal(err)
	}
	l := find(t, article(t, "b").Listeners, "ztunnel_inbound")
	edit(t, l.FilterChains[1].Filters[0].GetTypedConfig(), func(h *hcmv3.HttpConnectionManager) {
		f := &hcmv3.HttpFilter{Name: "envoy.filters.http.rbac", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(t, &m)}}
		h.HttpFilters = append([]*hcmv3.HttpFilter{f}, h.HttpFilters...)
	})
	return l
}

// rbacFilter decodes a filter on the way a resource takes.
func rbacFilter(t *testing.T, filter string, http bool) *rbac.Filter {
	t.Helper()
	make := withNetworkRBAC
	if http {
		make = withHTTPRBAC
	}
	l, err := NewDecoder("sds-grpc").Listener(pack(t, make(t, filter)))
	if err != nil {
		t.Fatal(err)
	}
	chain := l.all[1]
	if http {
		return chain.HTTP.RBAC[0]
	}
	return chain.RBAC[0]
}

// onePolicy is a filter with one policy.
func onePolicy(action, permission, principal string) string {
	return `{"stat_prefix": "tcp.", "rules": {"action": "` + action + `", "policies": {"p": {"permissions": [` + permission + `], "principals": [` + principal + `]}}}}`
}

const anything = `{"any": true}`

func TestRBACRules(t *testing.T) {
	type R = rbac.Request
	to := func(addr string) R { return R{Local: netip.MustParseAddrPort(addr)} }
	from := func(addr string) R { return R{Remote: netip.MustParseAddrPort(addr)} }
	peer := func(names ...string) R { return R{Authenticated: true, Names: names} }
	req := func(header ...string) R {
		return R{Header: func(name string) (string, bool) {
			for i := 0; i < len(header); i += 2 {
				if header[i] == name {
					return header[i+1], true
				}
			}
			return "", false
		}}
	}
	sleepToo := peer("spiffe://cluster.local/ns/default/sa/sleep", "CN=x")
	name := func(matcher string) string { return `{"authenticated": {"principal_name": ` + matcher + `}}` }
	for title, tc := range map[string]struct {
		permission, principal string
		yes, not              []R
	}{
		"destination_port":      {`{"destination_port": 80}`, anything, []R{to("1.2.3.4:80")}, []R{to("1.2.3.4:81"), {}}},
		"destination_ip":        {`{"destination_ip": {"address_prefix": "10.4.3.77", "prefix_len": 24}}`, anything, []R{to("10.4.3.1:1")}, []R{to("10.4.4.1:1"), {}}},
		"and_rules":             {`{"and_rules": {"rules": [{"destination_port": 80}, {"destination_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}]}}`, anything, []R{to("10.1.1.1:80")}, []R{to("10.1.1.1:81"), to("11.1.1.1:80")}},
		"or_rules":              {`{"or_rules": {"rules": [{"destination_port": 80}, {"destination_port": 81}]}}`, anything, []R{to("1.1.1.1:80"), to("1.1.1.1:81")}, []R{to("1.1.1.1:82")}},
		"not_rule":              {`{"not_rule": {"destination_port": 80}}`, anything, []R{to("1.1.1.1:81"), {}}, []R{to("1.1.1.1:80")}},
		"requested_server_name": {`{"requested_server_name": {"suffix": ".example"}}`, anything, []R{{SNI: "a.example"}}, []R{{SNI: "a.test"}, {}}},
		"server name by regex":  {`{"requested_server_name": {"safe_regex": {"google_re2": {}, "regex": "a+"}}}`, anything, []R{{SNI: "aa"}}, []R{{SNI: "aab"}, {}}},
		"never":                 {`{"not_rule": {"any": true}}`, `{"not_id": {"any": true}}`, nil, []R{{}, to("1.1.1.1:80"), sleepToo}},
		"direct_remote_ip":      {anything, `{"direct_remote_ip": {"address_prefix": "10.4.0.0", "prefix_len": 16}}`, []R{from("10.4.9.9:1")}, []R{from("10.5.0.1:1"), {}}},
		"remote_ip":             {anything, `{"remote_ip": {"address_prefix": "10.4.4.19", "prefix_len": 32}}`, []R{from("10.4.4.19:1")}, []R{from("10.4.4.18:1")}},
		"source_ip":             {anything, `{"source_ip": {"address_prefix": "0.0.0.0"}}`, []R{from("10.4.4.19:1")}, []R{{}}},
		"IPv6 block":            {anything, `{"remote_ip": {"address_prefix": "2001:db8::", "prefix_len": 32}}`, []R{from("[2001:db8::1]:1")}, []R{from("10.4.4.18:1")}},
		"exact principal":       {anything, name(`{"exact": "spiffe://cluster.local/ns/default/sa/sleep"}`), []R{sleepToo}, []R{peer("spiffe://cluster.local/ns/default/sa/sleepy"), peer(), {}}},
		"prefix principal":      {anything, name(`{"prefix": "spiffe://cluster.local/ns/default/"}`), []R{sleepToo}, []R{peer("spiffe://cluster.local/ns/other/sa/sleep")}},
		"suffix principal":      {anything, name(`{"suffix": "/sa/sleep"}`), []R{sleepToo}, []R{peer("spiffe://cluster.local/ns/default/sa/x")}},
		"contained in a name":   {anything, name(`{"contains": "/ns/default/"}`), []R{sleepToo}, []R{peer("spiffe://cluster.local/ns/other/sa/x")}},
		"principal by regex":    {anything, name(`{"safe_regex": {"regex": ".*/ns/def.*/.*"}}`), []R{sleepToo}, []R{peer("spiffe://cluster.local/ns/other/sa/x")}},
		"any principal":         {anything, name(`{"safe_regex": {"regex": ".+"}}`), []R{sleepToo}, []R{{}, peer("")}},
		"another case":          {anything, name(`{"exact": "SPIFFE://X", "ignore_case": true}`), []R{peer("spiffe://x")}, []R{peer("spiffe://y")}},
		"the second name":       {anything, name(`{"exact": "CN=x"}`), []R{sleepToo}, []R{peer("CN=y")}},
		"authenticated":         {anything, `{"authenticated": {}}`, []R{sleepToo, peer()}, []R{{}}},
		"and_ids": {anything, `{"and_ids": {"ids": [{"authenticated": {}}, {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}]}}`,
			[]R{{Authenticated: true, Remote: netip.MustParseAddrPort("10.1.1.1:1")}}, []R{sleepToo, from("10.1.1.1:1")}},
		"or_ids": {anything, `{"or_ids": {"ids": [{"authenticated": {}}, {"remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}]}}`,
			[]R{sleepToo, from("10.1.1.1:1")}, []R{{}, from("11.1.1.1:1")}},
		"not_id":             {anything, `{"not_id": {"or_ids": {"ids": [{"authenticated": {}}]}}}`, []R{{}}, []R{sleepToo}},
		"two of each":        {`{"destination_port": 80}, {"destination_port": 81}`, `{"authenticated": {}}, {"any": true}`, []R{to("1.1.1.1:81")}, []R{to("1.1.1.1:82")}},
		"header permission":  {`{"header": {"name": "X-Envoy-Original-Dst-Host", "string_match": {"exact": "10.4.3.20:80"}}}`, anything, []R{req("x-envoy-original-dst-host", "10.4.3.20:80")}, []R{req("x-envoy-original-dst-host", "10.4.3.20:81"), req()}},
		"authority":          {`{"header": {"name": ":authority", "string_match": {"prefix": "10.4.3.20:"}}}`, anything, []R{req(":authority", "10.4.3.20:81")}, []R{req()}},
		"header principal":   {anything, `{"header": {"name": "a", "present_match": true}}`, []R{req("a", "")}, []R{req()}},
		"absent":             {`{"header": {"name": "a", "present_match": false}}`, anything, []R{req()}, []R{req("a", "x")}},
		"not present":        {`{"header": {"name": "a", "present_match": true, "invert_match": true}}`, anything, []R{req()}, []R{req("a", "x")}},
		"another value":      {`{"header": {"name": "a", "string_match": {"exact": "x"}, "invert_match": true}}`, anything, []R{req("a", "y")}, []R{req("a", "x"), req()}},
		"another, or none":   {`{"header": {"name": "a", "string_match": {"exact": "x"}, "invert_match": true, "treat_missing_header_as_empty": true}}`, anything, []R{req("a", "y"), req()}, []R{req("a", "x")}},
		"not_rule of header": {`{"not_rule": {"or_rules": {"rules": [{"header": {"name": "a", "string_match": {"exact": "x"}}}]}}}`, anything, []R{req("a", "y"), req()}, []R{req("a", "x")}},
	} {
		t.Run(title, func(t *testing.T) {
			http := strings.Contains(tc.permission+tc.principal, "header")
			for _, action := range []string{"ALLOW", "DENY"} {
				text := onePolicy(action, tc.permission, tc.principal)
				if http {
					text = strings.Replace(text, `"stat_prefix": "tcp.",`, "", 1)
				}
				engine := rbacFilter(t, text, http).Rules
				for _, r := range tc.yes {
					if allowed, policy := engine.Decide(&r); allowed != (action == "ALLOW") || policy != "p" {
						t.Errorf("%s: %+v does not match", action, r)
					}
				}
				for _, r := range tc.not {
					if allowed, policy := engine.Decide(&r); allowed != (action == "DENY") || policy != "" {
						t.Errorf("%s: %+v matches", action, r)
					}
				}
			}
		})
	}
}

func TestRBACFilterParts(t *testing.T) {
	f := rbacFilter(t, `{"stat_prefix": "tcp.", "shadow_rules_stat_prefix": "istio_dry_run_allow_", "rules": {}}`, false)
	if f.Rules == nil || f.Rules.Deny || f.Shadow != nil || f.StatPrefix != "tcp." || f.ShadowStatPrefix != "istio_dry_run_allow_" {
		t.Errorf("network filter %+v", f)
	}
	f = rbacFilter(t, `{"shadow_rules_stat_prefix": "s_", "rules_stat_prefix": "r_", "shadow_rules": {"action": "DENY"}}`, true)
	if f.Rules != nil || f.Shadow == nil || !f.Shadow.Deny || f.StatPrefix != "" || f.RulesStatPrefix != "r_" || f.ShadowStatPrefix != "s_" {
		t.Errorf("HTTP filter %+v", f)
	}
}

func TestRefusedRBAC(t *testing.T) {
	at := func(permission, principal string) string { return onePolicy("ALLOW", permission, principal) }
	for name, tc := range map[string]struct {
		http   bool
		filter string
		want   []string
	}{
		"header in a network filter": {false, at(`{"header": {"name": "a", "present_match": true}}`, anything), []string{
			`filter_chains[1]`, `filters[0].typed_config.rules.policies["p"].permissions[0]`, "header", "network filter"}},
		"deep header": {false, at(anything, `{"not_id": {"and_ids": {"ids": [{"any": true}, {"header": {"name": "a", "present_match": true}}]}}}`), []string{
			`principals[0].not_id.and_ids.ids[1]`, "header", "network filter"}},
		"url_path":                {false, at(`{"url_path": {"path": {"exact": "/"}}}`, anything), []string{`permissions[0].url_path`, "not supported"}},
		"destination_port_range":  {false, at(`{"destination_port_range": {"start": 1, "end": 2}}`, anything), []string{`permissions[0].destination_port_range`}},
		"metadata":                {false, at(`{"metadata": {"filter": "x", "path": [{"key": "a"}], "value": {"present_match": true}}}`, anything), []string{`permissions[0].metadata`}},
		"filter_state":            {false, at(anything, `{"filter_state": {"key": "x", "string_match": {"exact": "x"}}}`), []string{`principals[0].filter_state`}},
		"condition":               {false, `{"stat_prefix": "t", "rules": {"policies": {"p": {"permissions": [{"any": true}], "principals": [{"any": true}], "condition": {"id": "1"}}}}}`, []string{`policies["p"].condition`}},
		"LOG":                     {false, `{"stat_prefix": "t", "rules": {"action": "LOG"}}`, []string{"rules.action", "LOG"}},
		"every byte":              {false, `{"stat_prefix": "t", "enforcement_type": "CONTINUOUS"}`, []string{"enforcement_type", "CONTINUOUS"}},
		"delay":                   {false, `{"stat_prefix": "t", "delay_deny": "1s"}`, []string{"delay_deny"}},
		"matcher":                 {false, `{"stat_prefix": "t", "matcher": {}}`, []string{"typed_config.matcher"}},
		"no prefix":               {false, `{"rules": {}}`, []string{"StatPrefix"}},
		"no permissions":          {false, `{"stat_prefix": "t", "rules": {"policies": {"p": {"principals": [{"any": true}]}}}}`, []string{"Permissions"}},
		"empty permission":        {false, at(`{}`, anything), []string{"Rule", "required"}},
		"port":                    {false, at(`{"destination_port": 65536}`, anything), []string{"DestinationPort"}},
		"block too long":          {false, at(anything, `{"remote_ip": {"address_prefix": "10.0.0.1", "prefix_len": 33}}`), []string{`principals[0].remote_ip`, "33"}},
		"block without address":   {false, at(anything, `{"source_ip": {"address_prefix": "x", "prefix_len": 3}}`), []string{`principals[0].source_ip.address_prefix`}},
		"regular expression":      {false, at(`{"requested_server_name": {"safe_regex": {"regex": "a)(b"}}}`, anything), []string{`permissions[0].requested_server_name.safe_regex.regex`}},
		"size of the regex":       {false, at(`{"requested_server_name": {"safe_regex": {"regex": "a", "google_re2": {"max_program_size": 3}}}}`, anything), []string{`google_re2.max_program_size`}},
		"case of a regex":         {false, at(anything, `{"authenticated": {"principal_name": {"safe_regex": {"regex": "a"}, "ignore_case": true}}}`), []string{"principals[0].authenticated.principal_name", "ignore_case"}},
		"shadow rules":            {false, `{"stat_prefix": "t", "shadow_rules": {"policies": {"p": {"permissions": [{"header": {"name": "a", "present_match": true}}], "principals": [{"any": true}]}}}}`, []string{`shadow_rules.policies["p"]`, "header"}},
		"header by number":        {true, `{"rules": {"policies": {"p": {"permissions": [{"header": {"name": "a", "range_match": {"start": "1", "end": "2"}}}], "principals": [{"any": true}]}}}}`, []string{`header.range_match`}},
		"header without question": {true, `{"rules": {"policies": {"p": {"permissions": [{"header": {"name": "a"}}], "principals": [{"any": true}]}}}}`, []string{`http_filters[0].typed_config.rules.policies["p"].permissions[0].header`, "header_match_specifier"}},
		"statistics per rule":     {true, `{"track_per_rule_stats": true}`, []string{"http_filters[0].typed_config.track_per_rule_stats"}},
	} {
		t.Run(name, func(t *testing.T) {
			make := withNetworkRBAC
			if tc.http {
				make = withHTTPRBAC
			}
			_, err := NewDecoder("sds-grpc").Listener(pack(t, make(t, tc.filter)))
			wantRefusal(t, err, tc.want...)
		})
	}
}

func TestRouteByHeader(t *testing.T) {
	l := find(t, article(t, "b").Listeners, "ztunnel_inbound")
	edit(t, l.FilterChains[1].Filters[0].GetTypedConfig(), func(h *hcmv3.HttpConnectionManager) {
		match := h.GetRouteConfig().VirtualHosts[0].Routes[0].Match
		if err := protojson.Unmarshal([]byte(`{"connect_matcher": {}, "headers": [
			{"name": ":authority", "string_match": {"prefix": "10.4.3.20:"}},
			{"name": "a", "string_match": {"safe_regex": {"regex": "x+"}}}]}`), match); err != nil {
			t.Fatal(err)
		}
	})
	got, err := NewDecoder("sds-grpc").Listener(pack(t, l))
	if err != nil {
		t.Fatal(err)
	}
	route := got.all[1].HTTP.Route
	for _, tc := range []struct {
		authority, a string
		want         bool
	}{
		{"10.4.3.20:80", "xx", true}, {"10.4.3.20:80", "", false}, {"10.4.3.201:80", "x", false}, {"", "x", false},
	} {
		header := func(name string) (string, bool) {
			v := map[string]string{":authority": tc.authority, "a": tc.a}[name]
			return v, v != ""
		}
		if route.Matches(header) != tc.want {
			t.Errorf("%+v", tc)
		}
	}
}
