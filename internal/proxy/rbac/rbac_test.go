// SPDX-License-Identifier: Apache-2.0

package rbac

import (
	"net/netip"
	"testing"
)

func port(n uint16) []Rule { return []Rule{DestinationPort(n)} }

var anybody = []Rule{Any}

func TestDecide(t *testing.T) {
	r := &Request{Local: netip.MustParseAddrPort("10.4.3.20:80"), Remote: netip.MustParseAddrPort("10.4.4.19:40000")}
	for name, tc := range map[string]struct {
		engine  *Engine
		allowed bool
		policy  string
	}{
		"allow without policies":   {NewEngine(false, nil), false, ""},
		"deny without policies":    {NewEngine(true, nil), true, ""},
		"allowed":                  {NewEngine(false, []Policy{{"a", port(81), anybody}, {"b", port(80), anybody}}), true, "b"},
		"not allowed":              {NewEngine(false, []Policy{{"a", port(81), anybody}}), false, ""},
		"denied":                   {NewEngine(true, []Policy{{"a", port(80), anybody}}), false, "a"},
		"not denied":               {NewEngine(true, []Policy{{"a", port(81), anybody}}), true, ""},
		"first by name":            {NewEngine(true, []Policy{{"b", port(80), anybody}, {"a", port(80), anybody}}), false, "a"},
		"permission, no principal": {NewEngine(false, []Policy{{"a", port(80), []Rule{Not(Any)}}}), false, ""},
		"second permission":        {NewEngine(false, []Policy{{"a", append(port(81), port(80)...), anybody}}), true, "a"},
		"no permission at all":     {NewEngine(false, []Policy{{"a", nil, anybody}}), false, ""},
	} {
		if allowed, policy := tc.engine.Decide(r); allowed != tc.allowed || policy != tc.policy {
			t.Errorf("%s: allowed %v by %q", name, allowed, policy)
		}
	}
}

func TestInProcessConnectionHasNoAddress(t *testing.T) {
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	for name, rule := range map[string]Rule{
		"port": DestinationPort(0), "destination": DestinationIP(everywhere), "source": RemoteIP(everywhere),
	} {
		if rule(&Request{}) {
			t.Errorf("%s fits", name)
		}
	}
}

func TestDenialDetails(t *testing.T) {
	for policy, want := range map[string]string{
		"":                               "rbac_access_denied_matched_policy[none]",
		"ns[foo]-policy[no way]-rule[0]": "rbac_access_denied_matched_policy[ns[foo]-policy[no_way]-rule[0]]",
	} {
		if got := DenialDetails(policy); got != want {
			t.Errorf("%q: %s", policy, got)
		}
	}
}
