// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ambient22/ambient22/internal/mesh"
)

// tunnelClientTLS presents the caller's certificate. It validates nothing: the
// 2022 configuration has no validation context on this side (listing 13).
func (b *builder) tunnelClientTLS(secret string) *corev3.TransportSocket {
	return b.tls(&tlsv3.UpstreamTlsContext{CommonTlsContext: tunnelTLS(secret)})
}

// tunnelServerTLS presents the certificate of the pod that is called and, where a
// client presents one, asks for an identity of this mesh.
func (b *builder) tunnelServerTLS(w *mesh.Workload) *corev3.TransportSocket {
	common := tunnelTLS(b.view.snapshot.SecretName(w))
	common.ValidationContextType = b.meshPeers
	return b.tls(&tlsv3.DownstreamTlsContext{CommonTlsContext: common})
}

func (b *builder) tls(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(context)},
	}
}

// tunnelTLS is what both ends of a tunnel agree on.
func tunnelTLS(secret string) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols:                  []string{"h2"},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: secret, SdsConfig: secretSource()}},
	}
}

// meshPeers accepts what the mesh's authority signed for this trust domain.
func meshPeers(trustDomain string) *tlsv3.CommonTlsContext_CombinedValidationContext {
	roots := secretSource()
	roots.InitialFetchTimeout = &durationpb.Duration{} // wait for the bundle as long as it takes
	return &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext: &tlsv3.CertificateValidationContext{
				//lint:ignore SA1019 the only field that the proxies of 2022 know
				MatchSubjectAltNames: []*matcherv3.StringMatcher{{
					MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://" + trustDomain + "/"},
				}},
			},
			ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: RootCASecret, SdsConfig: roots},
		},
	}
}

// secretSource is SDS over the connection that the bootstrap knows.
func secretSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType:                   corev3.ApiConfigSource_GRPC,
			TransportApiVersion:       corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: SDSCluster},
			}}},
		}},
	}
}
