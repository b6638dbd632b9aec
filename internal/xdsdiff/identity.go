// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// unordered are the lists whose order has no effect on what a proxy does.
func unordered(fd protoreflect.FieldDescriptor) bool {
	switch fd.FullName() {
	case "envoy.config.listener.v3.Listener.filter_chains",
		"envoy.config.listener.v3.Listener.access_log",
		"envoy.config.listener.v3.FilterChainMatch.prefix_ranges",
		"envoy.config.listener.v3.FilterChainMatch.source_prefix_ranges",
		"envoy.config.listener.v3.FilterChainMatch.server_names",
		"envoy.config.endpoint.v3.ClusterLoadAssignment.endpoints",
		"envoy.config.endpoint.v3.LocalityLbEndpoints.lb_endpoints",
		"envoy.config.route.v3.RouteConfiguration.virtual_hosts",
		"envoy.config.route.v3.VirtualHost.domains",
		"envoy.config.rbac.v3.Policy.permissions",
		"envoy.config.rbac.v3.Policy.principals",
		"envoy.config.rbac.v3.Permission.Set.rules",
		"envoy.config.rbac.v3.Principal.Set.ids",
		"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.access_log",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.access_log",
		"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.match_subject_alt_names",
		"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.match_typed_subject_alt_names",
		"envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.tls_certificate_sds_secret_configs",
		"istio.telemetry.workloadmetadata.v1.WorkloadMetadataResources.workload_metadata_resources",
		"istio.telemetry.workloadmetadata.v1.WorkloadMetadataResource.ip_addresses":
		return true
	}
	return false
}

// identity names one element of a list by what makes it that element.
type identity struct {
	of func(value) string // "" where it has nothing of that sort
	// weak is an identity that an element may change and still be the same one.
	weak bool
}

// isChain reports whether a value of that schema is a filter chain.
func isChain(of schema) bool {
	return of.form == message && of.message.FullName() == "envoy.config.listener.v3.FilterChain"
}

// identities are the ways to match the elements of a list, the best one first. What
// is the same by an earlier one is not looked at by a later one.
func identities(of schema) []identity {
	name := identity{of: byFields("name")}
	if of.form == unknown || of.form == data {
		return []identity{name}
	}
	if of.form != message {
		return nil
	}
	switch of.message.FullName() {
	case "envoy.config.listener.v3.FilterChain":
		return []identity{name, {byValue(of, "filter_chain_match"), true}}
	case "envoy.config.route.v3.Route":
		return []identity{name, {byValue(of, "match"), true}}
	case "envoy.config.endpoint.v3.LbEndpoint":
		return []identity{{of: hostAddress}}
	case "envoy.config.endpoint.v3.LocalityLbEndpoints":
		return []identity{{of: localityName}}
	case "envoy.config.core.v3.SocketOption":
		return []identity{{of: byFields("level", "name", "state")}}
	case "envoy.config.core.v3.HeaderValueOption":
		return []identity{{of: headerName}}
	case "envoy.config.core.v3.HeaderValue":
		return []identity{{of: byFields("key")}}
	case "istio.telemetry.workloadmetadata.v1.WorkloadMetadataResource":
		return []identity{{of: byFields("namespace_name", "instance_name")}}
	}
	if f := of.message.Fields().ByName("name"); f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() {
		return []identity{name}
	}
	return nil
}

// byFields is the values of simple fields, of which the first must be there.
func byFields(names ...string) func(value) string {
	return func(v value) string {
		var parts []string
		for i, name := range names {
			f, ok := v.member(name)
			if !ok || isContainer(f) || (i == 0 && f.string() == "") {
				if i == 0 {
					return ""
				}
				continue
			}
			parts = append(parts, f.string())
		}
		return strings.Join(parts, "/")
	}
}

// byValue is the whole value of one field.
func byValue(of schema, name string) func(value) string {
	s := ofField(of.message.Fields().ByName(protoreflect.Name(name)))
	return func(v value) string {
		f, ok := v.member(name)
		if !ok {
			return ""
		}
		return string(s.canonical(nil, f, true))
	}
}

func headerName(option value) string {
	header, ok := option.member("header")
	if !ok {
		return ""
	}
	return byFields("key")(header)
}

func localityName(locality value) string {
	name := "no locality"
	if l, ok := locality.member("locality"); ok {
		var parts []string
		for _, field := range []string{"region", "zone", "sub_zone"} {
			if f, ok := l.member(field); ok && f.string() != "" {
				parts = append(parts, f.string())
			}
		}
		if len(parts) > 0 {
			name = strings.Join(parts, "/")
		}
	}
	if p, ok := locality.member("priority"); ok && p.string() != "0" {
		name += ", priority " + p.string()
	}
	return name
}

// hostAddress is where an endpoint is: "10.4.3.20:9080", or the internal listener
// and the endpoint's id behind it.
func hostAddress(host value) string {
	if name, ok := host.member("endpoint_name"); ok {
		return name.string()
	}
	endpoint, ok := host.member("endpoint")
	if !ok {
		return ""
	}
	address, ok := endpoint.member("address")
	if !ok {
		return ""
	}
	for _, known := range []struct {
		kind, separator string
		fields          []string
	}{
		{"socket_address", ":", []string{"address", "port_value"}},
		{"envoy_internal_address", "/", []string{"server_listener_name", "endpoint_id"}},
		{"pipe", "", []string{"path"}},
	} {
		inner, ok := address.member(known.kind)
		if !ok {
			continue
		}
		var parts []string
		for _, name := range known.fields {
			if f, ok := inner.member(name); ok && !isContainer(f) {
				parts = append(parts, f.string())
			}
		}
		return strings.Join(parts, known.separator)
	}
	return ""
}
