// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/strict"
)

// Type URLs of packed messages that have no Go type here.
const (
	typePrefix            = "type.googleapis.com/"
	setDstAddressType     = typePrefix + "istio.set_internal_dst_address.v1.Config"
	workloadMetadataType  = typePrefix + workloadMetadataName
	workloadMetadataName  = "istio.telemetry.workloadmetadata.v1.WorkloadMetadataResources"
	httpProtocolOptionsID = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// schema is everything the proxy executes. A field that is added here must be
// read by the decoder of its message.
func schema() strict.Schema {
	s := strict.Schema{
		"google.protobuf.Duration":    nil,
		"google.protobuf.UInt32Value": nil,
		"google.protobuf.BoolValue":   nil,
		"google.protobuf.StringValue": nil,
		"google.protobuf.Struct":      nil,
		workloadMetadataName:          nil,
	}
	for _, part := range []strict.Schema{coreSchema(), listenerSchema(), matcherSchema(), filterSchema(), rbacSchema(), tlsSchema(), clusterSchema(), endpointSchema()} {
		for name, fields := range part {
			s[name] = fields
		}
	}
	return s
}

func coreSchema() strict.Schema {
	version := strict.Enum(corev3.ApiVersion_AUTO, corev3.ApiVersion_V3)
	return strict.Schema{
		"envoy.config.core.v3.Address":                  {"socket_address": nil, "envoy_internal_address": nil},
		"envoy.config.core.v3.SocketAddress":            {"address": nil, "port_value": nil, "protocol": strict.Enum(corev3.SocketAddress_TCP)},
		"envoy.config.core.v3.EnvoyInternalAddress":     {"server_listener_name": nil, "endpoint_id": nil},
		"envoy.config.core.v3.SocketOption":             {"description": nil, "level": nil, "name": nil, "int_value": nil, "state": strict.Enum(corev3.SocketOption_STATE_PREBIND)},
		"envoy.config.core.v3.CidrRange":                {"address_prefix": nil, "prefix_len": nil},
		"envoy.config.core.v3.ConfigSource":             {"ads": nil, "api_config_source": nil, "initial_fetch_timeout": nil, "resource_api_version": version},
		"envoy.config.core.v3.AggregatedConfigSource":   {},
		"envoy.config.core.v3.ApiConfigSource":          {"api_type": strict.Enum(corev3.ApiConfigSource_GRPC, corev3.ApiConfigSource_DELTA_GRPC), "grpc_services": nil, "set_node_on_first_message_only": nil, "transport_api_version": version},
		"envoy.config.core.v3.GrpcService":              {"envoy_grpc": nil},
		"envoy.config.core.v3.GrpcService.EnvoyGrpc":    {"cluster_name": nil},
		"envoy.config.core.v3.ExtensionConfigSource":    {"config_source": nil, "type_urls": nil},
		"envoy.config.core.v3.TypedExtensionConfig":     {"name": nil, "typed_config": nil},
		"envoy.config.core.v3.TransportSocket":          {"name": nil, "typed_config": nil},
		"envoy.config.core.v3.DataSource":               {"inline_bytes": nil, "inline_string": nil},
		"envoy.config.core.v3.SubstitutionFormatString": {"text_format_source": nil},
		"envoy.config.core.v3.HeaderValueOption":        {"header": nil},
		"envoy.config.core.v3.HeaderValue":              {"key": nil, "value": nil},
		"envoy.config.core.v3.Metadata":                 {"filter_metadata": nil},
		"envoy.config.core.v3.Locality":                 {},
		"envoy.config.core.v3.Http1ProtocolOptions":     {},
		"envoy.config.core.v3.Http2ProtocolOptions":     {"allow_connect": nil, "max_concurrent_streams": nil, "initial_stream_window_size": nil, "initial_connection_window_size": nil},
		"envoy.type.metadata.v3.MetadataKind":           {"host": nil},
		"envoy.type.metadata.v3.MetadataKind.Host":      {},
		"envoy.type.matcher.v3.StringMatcher":           {"prefix": nil, "exact": nil, "suffix": nil, "contains": nil, "safe_regex": nil, "ignore_case": nil},
		// The engine was chosen by name once; there is only this one.
		"envoy.type.matcher.v3.RegexMatcher":           {"regex": nil, "google_re2": nil},
		"envoy.type.matcher.v3.RegexMatcher.GoogleRE2": {},
	}
}

func listenerSchema() strict.Schema {
	return strict.Schema{
		"envoy.config.listener.v3.Listener": {
			"name": nil, "address": nil, "stat_prefix": nil, "filter_chains": nil, "filter_chain_matcher": nil, "use_original_dst": nil,
			"default_filter_chain": nil, "listener_filters": nil, "transparent": nil, "socket_options": nil, "access_log": nil, "internal_listener": nil,
		},
		"envoy.config.listener.v3.Listener.InternalListenerConfig":                                              {},
		"envoy.config.listener.v3.FilterChain":                                                                  {"filter_chain_match": nil, "filters": nil, "transport_socket": nil, "name": nil},
		"envoy.config.listener.v3.FilterChainMatch":                                                             {"prefix_ranges": nil},
		"envoy.config.listener.v3.Filter":                                                                       {"name": nil, "typed_config": nil},
		"envoy.config.listener.v3.ListenerFilter":                                                               {"name": nil, "typed_config": nil, "config_discovery": nil},
		"envoy.extensions.filters.listener.original_dst.v3.OriginalDst":                                         {},
		"envoy.extensions.filters.listener.original_src.v3.OriginalSrc":                                         {"mark": nil},
		"xds.type.v3.TypedStruct":                                                                               {"type_url": strict.String(setDstAddressType), "value": emptyStruct},
		"envoy.config.accesslog.v3.AccessLog":                                                                   {"name": nil, "typed_config": nil},
		"envoy.extensions.access_loggers.file.v3.FileAccessLog":                                                 {"path": strict.String("/dev/stdout"), "log_format": nil},
		"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy":                                                {"stat_prefix": nil, "cluster": nil, "access_log": nil, "tunneling_config": nil},
		"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig":                                {"hostname": nil, "headers_to_add": nil},
		"envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport":                     {"passthrough_metadata": nil, "transport_socket": nil},
		"envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport.MetadataValueSource": {"kind": nil, "name": nil},
		"envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer":                                            {},
	}
}

func matcherSchema() strict.Schema {
	return strict.Schema{
		"xds.type.matcher.v3.Matcher":                      {"matcher_tree": nil, "on_no_match": nil},
		"xds.type.matcher.v3.Matcher.MatcherTree":          {"input": nil, "exact_match_map": nil},
		"xds.type.matcher.v3.Matcher.MatcherTree.MatchMap": {"map": nil},
		"xds.type.matcher.v3.Matcher.OnMatch":              {"matcher": nil, "action": nil},
		"xds.core.v3.TypedExtensionConfig":                 {"name": nil, "typed_config": nil},
		destinationPort:                                    {},
		destinationIP:                                      {},
		sourceIP:                                           {},
	}
}

func filterSchema() strict.Schema {
	const hcm = "envoy.extensions.filters.network.http_connection_manager.v3."
	connect := strict.String("CONNECT")
	return strict.Schema{
		hcm + "HttpConnectionManager": {
			"codec_type":  strict.Enum(hcmv3.HttpConnectionManager_AUTO, hcmv3.HttpConnectionManager_HTTP2),
			"stat_prefix": nil, "route_config": nil, "http_filters": nil, "http2_protocol_options": nil, "access_log": nil, "upgrade_configs": nil,
		},
		hcm + "HttpConnectionManager.UpgradeConfig":                     {"upgrade_type": connect},
		hcm + "HttpFilter":                                              {"name": nil, "typed_config": nil},
		"envoy.extensions.filters.http.router.v3.Router":                {},
		"envoy.config.route.v3.RouteConfiguration":                      {"name": nil, "virtual_hosts": nil},
		"envoy.config.route.v3.VirtualHost":                             {"name": nil, "domains": strict.String("*"), "routes": nil},
		"envoy.config.route.v3.Route":                                   {"name": nil, "match": nil, "route": nil},
		"envoy.config.route.v3.RouteMatch":                              {"connect_matcher": nil, "headers": nil},
		"envoy.config.route.v3.HeaderMatcher":                           {"name": nil, "string_match": nil, "present_match": nil, "invert_match": nil, "treat_missing_header_as_empty": nil},
		"envoy.config.route.v3.RouteMatch.ConnectMatcher":               {},
		"envoy.config.route.v3.RouteAction":                             {"cluster": nil, "upgrade_configs": nil},
		"envoy.config.route.v3.RouteAction.UpgradeConfig":               {"upgrade_type": connect, "connect_config": nil},
		"envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig": {},
		httpProtocolOptionsID:                                           {"explicit_http_config": nil, "use_downstream_protocol_config": nil},
		httpProtocolOptionsID + ".ExplicitHttpConfig":                   {"http2_protocol_options": nil},
		httpProtocolOptionsID + ".UseDownstreamHttpConfig":              {"http_protocol_options": nil, "http2_protocol_options": nil},
	}
}

func rbacSchema() strict.Schema {
	const rbac = "envoy.config.rbac.v3."
	return strict.Schema{
		"envoy.extensions.filters.network.rbac.v3.RBAC": {
			"rules": nil, "shadow_rules": nil, "stat_prefix": nil, "shadow_rules_stat_prefix": nil,
			"enforcement_type": strict.Enum(networkrbacv3.RBAC_ONE_TIME_ON_FIRST_BYTE),
		},
		"envoy.extensions.filters.http.rbac.v3.RBAC": {"rules": nil, "rules_stat_prefix": nil, "shadow_rules": nil, "shadow_rules_stat_prefix": nil},
		rbac + "RBAC":           {"action": strict.Enum(rbacv3.RBAC_ALLOW, rbacv3.RBAC_DENY), "policies": nil},
		rbac + "Policy":         {"permissions": nil, "principals": nil},
		rbac + "Permission.Set": {"rules": nil},
		rbac + "Permission": {
			"and_rules": nil, "or_rules": nil, "not_rule": nil, "any": nil,
			"destination_ip": nil, "destination_port": nil, "requested_server_name": nil, "header": nil,
		},
		rbac + "Principal.Set":           {"ids": nil},
		rbac + "Principal.Authenticated": {"principal_name": nil},
		rbac + "Principal": {
			"and_ids": nil, "or_ids": nil, "not_id": nil, "any": nil,
			"authenticated": nil, "source_ip": nil, "direct_remote_ip": nil, "remote_ip": nil, "header": nil,
		},
	}
}

func tlsSchema() strict.Schema {
	const tls = "envoy.extensions.transport_sockets.tls.v3."
	v13 := strict.Enum(tlsv3.TlsParameters_TLSv1_3)
	return strict.Schema{
		tls + "DownstreamTlsContext":                                  {"common_tls_context": nil, "require_client_certificate": nil},
		tls + "UpstreamTlsContext":                                    {"common_tls_context": nil, "sni": nil},
		tls + "CommonTlsContext":                                      {"tls_params": nil, "alpn_protocols": strict.String("h2"), "tls_certificate_sds_secret_configs": nil, "combined_validation_context": nil, "validation_context_sds_secret_config": nil},
		tls + "CommonTlsContext.CombinedCertificateValidationContext": {"default_validation_context": nil, "validation_context_sds_secret_config": nil},
		tls + "TlsParameters":                                         {"tls_minimum_protocol_version": v13, "tls_maximum_protocol_version": v13},
		tls + "SdsSecretConfig":                                       {"name": nil, "sds_config": nil},
		tls + "CertificateValidationContext":                          {"trusted_ca": nil, "match_subject_alt_names": nil, "match_typed_subject_alt_names": nil},
		tls + "SubjectAltNameMatcher":                                 {"san_type": strict.Enum(tlsv3.SubjectAltNameMatcher_URI), "matcher": nil},
		tls + "TlsCertificate":                                        {"certificate_chain": nil, "private_key": nil},
		tls + "Secret":                                                {"name": nil, "tls_certificate": nil, "validation_context": nil},
	}
}

func clusterSchema() strict.Schema {
	return strict.Schema{
		"envoy.config.cluster.v3.Cluster": {
			"name": nil, "connect_timeout": nil, "cleanup_interval": nil, "eds_cluster_config": nil, "load_assignment": nil,
			"type":                             strict.Enum(clusterv3.Cluster_STATIC, clusterv3.Cluster_EDS, clusterv3.Cluster_ORIGINAL_DST),
			"lb_policy":                        strict.Enum(clusterv3.Cluster_ROUND_ROBIN, clusterv3.Cluster_CLUSTER_PROVIDED),
			"transport_socket":                 nil,
			"transport_socket_matches":         nil,
			"original_dst_lb_config":           nil,
			"typed_extension_protocol_options": nil,
		},
		"envoy.config.cluster.v3.Cluster.EdsClusterConfig":     {"eds_config": nil, "service_name": nil},
		"envoy.config.cluster.v3.Cluster.OriginalDstLbConfig":  {"use_http_header": nil, "http_header_name": nil, "upstream_port_override": nil},
		"envoy.config.cluster.v3.Cluster.TransportSocketMatch": {"name": nil, "match": nil, "transport_socket": nil},
	}
}

func endpointSchema() strict.Schema {
	healthy := strict.Enum(corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY)
	return strict.Schema{
		"envoy.config.endpoint.v3.ClusterLoadAssignment":      {"cluster_name": nil, "endpoints": nil},
		"envoy.config.endpoint.v3.LocalityLbEndpoints":        {"locality": nil, "lb_endpoints": nil},
		"envoy.config.endpoint.v3.LbEndpoint":                 {"endpoint": nil, "health_status": healthy, "metadata": nil, "load_balancing_weight": nil},
		"envoy.config.endpoint.v3.Endpoint":                   {"address": nil, "health_check_config": nil},
		"envoy.config.endpoint.v3.Endpoint.HealthCheckConfig": {},
	}
}

// emptyStruct allows only a Struct without fields.
func emptyStruct(v protoreflect.Value) error {
	s, ok := v.Message().Interface().(*structpb.Struct)
	if !ok || len(s.GetFields()) > 0 {
		return fmt.Errorf("only an empty value is supported")
	}
	return nil
}
