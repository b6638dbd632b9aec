// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// tunnelClientTLS presents the caller's certificate. In the article's form it
// validates nothing: the 2022 configuration has no validation context on this side
// (listing 13).
func (b *builder) tunnelClientTLS(secret string, peers *tlsv3.CommonTlsContext_CombinedValidationContext) *corev3.TransportSocket {
	common := tunnelTLS(secret)
	if b.options.Profile == Hardened {
		common.ValidationContextType = peers
	}
	return b.tls(&tlsv3.UpstreamTlsContext{CommonTlsContext: common})
}

// tunnelServerTLS presents the certificate of the pod that is called and asks for
// an identity of this mesh; in the article's form only where a client presents one.
func (b *builder) tunnelServerTLS(secret string) *corev3.TransportSocket {
	common := tunnelTLS(secret)
	common.ValidationContextType = b.meshPeers
	context := &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
	if b.options.Profile == Hardened {
		context.RequireClientCertificate = wrapperspb.Bool(true)
	}
	return b.tls(context)
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

// meshPeers are the names of everybody in this trust domain.
func meshPeers(trustDomain string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://" + trustDomain + "/"}}
}

// peer accepts one identity alone.
func (b *builder) peer(identity string) *tlsv3.CommonTlsContext_CombinedValidationContext {
	return trusted(b.options.Dialect, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: identity}})
}

// trusted accepts certificates that the mesh's authority signed for these names.
func trusted(d Dialect, names *matcherv3.StringMatcher) *tlsv3.CommonTlsContext_CombinedValidationContext {
	roots := secretSource()
	roots.InitialFetchTimeout = &durationpb.Duration{} // wait for the bundle as long as it takes
	return &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         named(d, names),
			ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: RootCASecret, SdsConfig: roots},
		},
	}
}

func named(d Dialect, names *matcherv3.StringMatcher) *tlsv3.CertificateValidationContext {
	if d == Upstream {
		return &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
			SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: names,
		}}}
	}
	//lint:ignore SA1019 the only field that the proxies of 2022 know
	return &tlsv3.CertificateValidationContext{MatchSubjectAltNames: []*matcherv3.StringMatcher{names}}
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
