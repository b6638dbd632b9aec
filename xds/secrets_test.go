// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/envoyconfig"
)

const foreign = "spiffe://cluster.local/ns/default/sa/elsewhere"

func secretIn(t *testing.T, body *anypb.Any) *tlsv3.Secret {
	t.Helper()
	s := &tlsv3.Secret{}
	if err := body.UnmarshalTo(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecretsOverDelta(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	for name, c := range map[string]*deltaClient{"SDS": s.deltaSDS(), "ADS": s.delta()} {
		t.Run(name, func(t *testing.T) {
			c.send(subscribe(secrets, podName, envoyconfig.RootCASecret, sleepID))
			a := wantDelta(c, "secret "+strings.Join([]string{envoyconfig.RootCASecret, sleepID, podName}, " "))
			if got := secretIn(t, a.Resources[0].Resource).GetValidationContext().GetTrustedCa().GetInlineBytes(); string(got) != "roots" {
				t.Errorf("trusted CA %q", got)
			}
			for _, r := range a.Resources[1:] {
				got := secretIn(t, r.Resource).GetTlsCertificate()
				if chain := string(got.GetCertificateChain().GetInlineBytes()); chain != "chain 1 of "+sleepID {
					t.Errorf("%s: chain %q", r.Name, chain)
				}
				if key := string(got.GetPrivateKey().GetInlineBytes()); key != "key 1 of "+sleepID {
					t.Errorf("%s: key %q", r.Name, key)
				}
			}
		})
	}
}

func TestSecretsOfOthersAreRefused(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	d := s.deltaSDS()
	d.send(subscribe(secrets, foreign, podName, "*"))
	wantDelta(d, "secret "+podName+" -* -"+foreign)

	c := s.sds()
	c.send(ask(secrets, foreign))
	wantSotw(c, "secret", foreign)
	c.send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{foreign, podName}}) // SDS needs no type
	wantSotw(c, "secret "+podName, foreign, podName)
	// An empty subscription is no wildcard.
	e := s.sds()
	e.send(ask(secrets))
	e.send(ask(secrets, podName))
	wantSotw(e, "secret "+podName, podName)

	if got := s.metric("refused_secrets_total"); got != 3 {
		t.Errorf("%v refusals counted, want 3", got)
	}
	if s.log.line("level=WARN", "refused a secret", foreign, proxyID) == "" {
		t.Error("a refusal is not logged with its name and node")
	}
	if refused := s.Status()[0].RefusedSecrets; !slices.Equal(refused, []string{"*", foreign}) {
		t.Errorf("status lists refusals %q", refused)
	}
	for _, key := range []string{"key 1", "chain 1"} {
		if line := s.log.line(key); line != "" {
			t.Errorf("a secret's content is in the log: %s", line)
		}
	}
	if asked := s.source.asked[foreign]; asked != 0 {
		t.Error("the source was asked for a refused identity")
	}
}

func TestSecretServiceServesSecretsOnly(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.sds()
	c.send(ask(clusters))
	select {
	case err := <-c.ended:
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("the stream ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the stream goes on")
	}
}

func TestSecretRotation(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	d, c := s.deltaSDS(), s.sds()
	d.send(subscribe(secrets, podName, envoyconfig.RootCASecret))
	first := wantDelta(d, "secret "+envoyconfig.RootCASecret+" "+podName)
	c.send(ask(secrets, podName))
	wantSotw(c, "secret "+podName, podName)

	s.source.rotate()
	second := wantDelta(d, "secret "+podName) // the roots are what they were
	if first.Resources[1].Version == second.Resources[0].Version {
		t.Error("the renewed certificate has the old version")
	}
	a := wantSotw(c, "secret "+podName, podName)
	if chain := secretIn(t, a.Resources[0]).GetTlsCertificate().GetCertificateChain().GetInlineBytes(); string(chain) != "chain 2 of "+sleepID {
		t.Errorf("chain %q", chain)
	}
	if got := s.metric("streams", "delta", sdsService) + s.metric("streams", "state of the world", sdsService); got != 2 {
		t.Errorf("%v streams left, want both", got)
	}
	d.quiet()
}

func TestSecretArrivesAndIsWithdrawn(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	other := otherID + "~productpage~uid"
	d, c := s.deltaSDS(), s.sds()
	d.send(subscribe(secrets, podName, other))
	wantDelta(d, "secret "+podName+" -"+other)
	c.send(ask(secrets, podName, other))
	wantSotw(c, "secret "+podName, podName, other)

	w.secrets = append(w.secrets, envoyconfig.SecretName{Name: other, Identity: otherID})
	w.set(s.Server)
	wantDelta(d, "secret "+other)
	wantSotw(c, "secret "+other+" "+podName, podName, other)
	if !slices.Equal(s.source.retained, []string{otherID, sleepID}) {
		t.Errorf("the source was told to retain %q", s.source.retained)
	}

	w.secrets = w.secrets[:1]
	w.set(s.Server)
	wantDelta(d, "secret -"+other)
	wantSotw(c, "secret "+podName, podName, other)
	if !slices.Equal(s.source.retained, []string{sleepID}) {
		t.Errorf("the source was told to retain %q", s.source.retained)
	}
}

func TestSecretSourceFails(t *testing.T) {
	s, w := start(t, func(s *Server) { s.secretRetry = 5 * time.Millisecond }), newWorld(t)
	w.set(s.Server)
	d := s.deltaSDS()
	s.source.failWith(errors.New("no entropy"))
	d.send(subscribe(secrets, podName, envoyconfig.RootCASecret))
	wantDelta(d, "secret "+envoyconfig.RootCASecret)
	eventually(t, "the failure is logged", func() bool {
		return s.log.line("level=ERROR", "secret is not available", podName, "no entropy") != ""
	})
	s.source.failWith(nil)
	wantDelta(d, "secret "+podName)

	// A failing renewal takes nothing away.
	s.source.failWith(errors.New("no entropy, again"))
	s.source.rotate()
	eventually(t, "the failure is logged", func() bool { return s.log.line("no entropy, again") != "" })
	d.quiet()
	s.source.failWith(nil)
	wantDelta(d, "secret "+podName)
	if got := s.metric("refused_secrets_total"); got != 0 {
		t.Errorf("%v refusals counted for a failing source", got)
	}
}

func TestWithoutSourceEverySecretIsRefused(t *testing.T) {
	s, w := start(t, func(s *Server) { s.secrets.source = nil }), newWorld(t)
	w.set(s.Server)
	d := s.deltaSDS()
	d.send(subscribe(secrets, podName, envoyconfig.RootCASecret))
	wantDelta(d, "secret -"+envoyconfig.RootCASecret+" -"+podName)
}
