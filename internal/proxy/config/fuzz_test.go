// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// small cuts a seed: the fuzzer minimizes what it finds, byte by byte.
func small(l *listenerv3.Listener) *listenerv3.Listener {
	l.AccessLog = nil
	l.FilterChains = l.FilterChains[:min(len(l.FilterChains), 2)]
	return l
}

// ask uses everything in a listener that judges connections and requests.
func ask(l *Listener) {
	r := &rbac.Request{Local: anywhere, Remote: anywhere, SNI: "a.x", Authenticated: true, Names: []string{sleep}}
	decide := func(filters []*rbac.Filter) {
		for _, f := range filters {
			for _, e := range []*rbac.Engine{f.Rules, f.Shadow} {
				if e != nil {
					e.Decide(r)
				}
			}
		}
	}
	for _, chain := range l.all {
		decide(chain.RBAC)
		if chain.HTTP != nil {
			r.Header = func(name string) (string, bool) { return name, name != "" }
			decide(chain.HTTP.RBAC)
			chain.HTTP.Route.Matches(r.Header)
		}
	}
}

// newestOutbound is a listener with many chains, and the decoder that made it.
func newestOutbound(f *testing.F) (*Decoder, *Listener) {
	d := NewDecoder("sds-grpc")
	for _, s := range servedSeeds(f) {
		if s.kind != 0 {
			continue
		}
		l, err := d.Listener(&anypb.Any{TypeUrl: envoyconfig.ListenerType, Value: s.value})
		if err != nil {
			f.Fatal(err)
		}
		if l.Name == "ztunnel_outbound" {
			return d, l
		}
	}
	f.Fatal("nothing is captured on its way out")
	return nil, nil
}

// FuzzDecode feeds the decoders with damaged resources: each must be decoded or
// refused, and what is decoded must be usable without a panic.
func FuzzDecode(f *testing.F) {
	for _, s := range servedSeeds(f) {
		f.Add(s.kind, s.value)
	}
	for _, text := range []string{
		onePolicy("ALLOW", `{"and_rules": {"rules": [{"destination_port": 80}, {"destination_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}]}}`,
			`{"authenticated": {"principal_name": {"safe_regex": {"google_re2": {}, "regex": ".*/ns/x/.*"}}}}`),
		onePolicy("DENY", `{"not_rule": {"or_rules": {"rules": [{"requested_server_name": {"suffix": ".x"}}]}}}`,
			`{"and_ids": {"ids": [{"not_id": {"or_ids": {"ids": [{"direct_remote_ip": {"address_prefix": "::", "prefix_len": 64}}]}}}, {"remote_ip": {"address_prefix": "10.4.4.19", "prefix_len": 32}}]}}`),
	} {
		f.Add(byte(0), pack(f, small(withNetworkRBAC(f, text))).GetValue())
	}
	f.Add(byte(0), pack(f, small(withHTTPRBAC(f, `{"rules": {"policies": {"p": {
		"permissions": [{"header": {"name": ":authority", "string_match": {"prefix": "10.4.3.20:"}}}],
		"principals": [{"header": {"name": "a", "present_match": true, "invert_match": true}}]}}}, "shadow_rules": {"action": "DENY"}}`))).GetValue())
	d, old := newestOutbound(f)
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		err := decodeSeed(NewDecoder("sds-grpc"), seed{kind, value}) // an error is an answer
		if kind%5 != 0 {
			return
		}
		// What an earlier version lends does not decide what is taken.
		_, errAfter := d.ListenerAfter(old, &anypb.Any{TypeUrl: envoyconfig.ListenerType, Value: value})
		if (err == nil) != (errAfter == nil) {
			t.Errorf("by itself: %v\nafter another: %v", err, errAfter)
		}
	})
}
