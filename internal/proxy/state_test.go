// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"strings"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ambient22/ambient22/internal/proxy/proxytest"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

func resource(k state.Kind, name string) *state.Resource {
	for i := range k.Resources {
		if k.Resources[i].Name == name {
			return &k.Resources[i]
		}
	}
	return nil
}

func TestState(t *testing.T) {
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t)
	a := newProxy(t, "a", p.ztunnelA, ca, true)
	a.start()
	a.until("everything is active", func(s *status) bool {
		for kind, n := range map[*state.Kind]int{&s.State.Listeners: 5, &s.State.Clusters: 12, &s.State.Endpoints: 4, &s.State.Extensions: 1, &s.State.Secrets: 2} {
			if len(kind.Resources) != n {
				return false
			}
			for i, r := range kind.Resources {
				if r.Active == nil || r.Active.Body == nil || r.Active.Version == "" || r.Warming != nil || r.Error != nil {
					return false
				}
				if i > 0 && kind.Resources[i-1].Name >= r.Name {
					return false
				}
			}
		}
		return true
	})

	// A changed listener that needs a secret which is not there, and one that is
	// refused: the old versions stay active beside them.
	l := a.listener("ztunnel_inbound")
	repack(t, l.FilterChains[1].TransportSocket.GetTypedConfig(), func(m proto.Message) {
		m.(*tlsv3.DownstreamTlsContext).CommonTlsContext.TlsCertificateSdsSecretConfigs[0].Name = sleepID + "~other~uid"
		m.(*tlsv3.DownstreamTlsContext).CommonTlsContext.TlsCertificateSdsSecretConfigs[0].SdsConfig.InitialFetchTimeout = durationpb.New(0)
	})
	bad := a.listener("ztunnel_inbound_plaintext")
	bad.StatPrefix, bad.EnableMptcp = "x", true
	a.push()
	a.until("one warms and one is refused", func(s *status) bool {
		in, plain := resource(s.State.Listeners, "ztunnel_inbound"), resource(s.State.Listeners, "ztunnel_inbound_plaintext")
		secret := resource(s.State.Secrets, sleepID+"~other~uid")
		return in.Active != nil && in.Warming != nil && in.Warming.Version != in.Active.Version &&
			plain.Active != nil && plain.Warming == nil && plain.Error != nil && strings.Contains(plain.Error.Details, "enable_mptcp") &&
			secret != nil && secret.Active == nil && secret.Warming != nil
	})

	// The secret that comes is shown without its key.
	s, err := ca.Secret(sleepID+"~other~uid", sleepID)
	if err != nil {
		t.Fatal(err)
	}
	a.secrets[s.GetName()] = s
	a.push()
	a.until("the warming listener is active", func(st *status) bool {
		in, secret := resource(st.State.Listeners, "ztunnel_inbound"), resource(st.State.Secrets, s.GetName())
		return in.Warming == nil && in.Active != nil && secret.Active != nil &&
			bytes.Contains(secret.Active.Body.GetValue(), []byte("[redacted]")) &&
			!bytes.Contains(secret.Active.Body.GetValue(), []byte("PRIVATE KEY"))
	})
}
