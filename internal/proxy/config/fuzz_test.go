// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
)

// FuzzDecode feeds the decoders with damaged resources: each must be decoded or
// refused, and what is decoded must be usable without a panic.
func FuzzDecode(f *testing.F) {
	for _, node := range []string{"a", "b"} {
		r := article(f, node)
		for _, m := range r.Listeners {
			// Small seeds: the fuzzer minimizes what it finds, byte by byte.
			m.AccessLog = nil
			m.FilterChains = m.FilterChains[:min(len(m.FilterChains), 2)]
			f.Add(byte(0), pack(f, m).GetValue())
		}
		for _, m := range r.Clusters {
			f.Add(byte(1), pack(f, m).GetValue())
		}
		for _, m := range r.Endpoints {
			f.Add(byte(2), pack(f, m).GetValue())
		}
		for _, m := range r.Extensions {
			f.Add(byte(3), pack(f, m).GetValue())
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		d := NewDecoder("sds-grpc")
		switch kind % 5 {
		case 0:
			if l, err := d.Listener(&anypb.Any{TypeUrl: typePrefix + "envoy.config.listener.v3.Listener", Value: value}); err == nil {
				l.FindChain(anywhere, anywhere)
				l.Secrets()
				l.Extensions()
			}
		case 1:
			if c, err := d.Cluster(&anypb.Any{TypeUrl: typePrefix + "envoy.config.cluster.v3.Cluster", Value: value}); err == nil {
				c.Secrets()
				c.SocketFor(&Host{})
			}
		case 2:
			if _, hosts, err := d.Endpoints(&anypb.Any{TypeUrl: typePrefix + "envoy.config.endpoint.v3.ClusterLoadAssignment", Value: value}); err == nil {
				for i := range hosts {
					_ = hosts[i].String()
				}
			}
		case 3:
			d.Extension(&anypb.Any{TypeUrl: typePrefix + "envoy.config.core.v3.TypedExtensionConfig", Value: value})
		case 4:
			d.Secret(&anypb.Any{TypeUrl: typePrefix + "envoy.extensions.transport_sockets.tls.v3.Secret", Value: value})
		}
	})
}
