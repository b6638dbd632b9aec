// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// The kinds of resources, as they are called in commands and in output.
const (
	listenerKind  = "listener"
	clusterKind   = "cluster"
	endpointKind  = "endpoint"
	extensionKind = "extension"
	routeKind     = "route"
	secretKind    = "secret"
	bootstrapKind = "bootstrap"
)

// Kinds are the kinds of resources that can be compared.
func Kinds() []string {
	return []string{bootstrapKind, clusterKind, endpointKind, extensionKind, listenerKind, routeKind, secretKind}
}

// messages are the protobuf types of the kinds.
func messages() map[string]protoreflect.FullName {
	return map[string]protoreflect.FullName{
		listenerKind:  "envoy.config.listener.v3.Listener",
		clusterKind:   "envoy.config.cluster.v3.Cluster",
		endpointKind:  "envoy.config.endpoint.v3.ClusterLoadAssignment",
		extensionKind: "envoy.config.core.v3.TypedExtensionConfig",
		routeKind:     "envoy.config.route.v3.RouteConfiguration",
		secretKind:    "envoy.extensions.transport_sockets.tls.v3.Secret",
		bootstrapKind: "envoy.config.bootstrap.v3.Bootstrap",
	}
}

// failureState is what a config_dump shows of a resource that was refused.
const failureState protoreflect.FullName = "envoy.admin.v3.UpdateFailureState"

// states are what a resource is in its proxy. Only a config_dump knows of any but
// inUse, which came over xDS and works.
const (
	inUse    = ""
	static   = "static"
	warming  = "warming"
	draining = "draining"
	rejected = "rejected"
)

// section is a list of a config_dump: what kind of resource its entries hold, and
// in which of an entry's fields they stand.
type section struct {
	kind  string
	parts []part
}

type part struct {
	path  []string
	state string
}

func one(kind, state string, path ...string) section {
	return section{kind, []part{{path, state}, {[]string{"error_state"}, rejected}}}
}

// sections are the lists of a config_dump by their names.
func sections() map[string]section {
	return map[string]section{
		"dynamic_listeners": {listenerKind, []part{
			{[]string{"active_state", "listener"}, inUse},
			{[]string{"warming_state", "listener"}, warming},
			{[]string{"draining_state", "listener"}, draining},
			{[]string{"error_state"}, rejected},
		}},
		"static_listeners":         one(listenerKind, static, "listener"),
		"dynamic_active_clusters":  one(clusterKind, inUse, "cluster"),
		"dynamic_warming_clusters": one(clusterKind, warming, "cluster"),
		"static_clusters":          one(clusterKind, static, "cluster"),
		"dynamic_endpoint_configs": one(endpointKind, inUse, "endpoint_config"),
		"static_endpoint_configs":  one(endpointKind, static, "endpoint_config"),
		"ecds_filters":             one(extensionKind, inUse, "ecds_filter"),
		"dynamic_route_configs":    one(routeKind, inUse, "route_config"),
		"static_route_configs":     one(routeKind, static, "route_config"),
		"dynamic_active_secrets":   one(secretKind, inUse, "secret"),
		"dynamic_warming_secrets":  one(secretKind, warming, "secret"),
		"static_secrets":           one(secretKind, static, "secret"),
	}
}

// entryTypes are the sections whose entries have these types. An entry names its
// type where one section alone was asked for (config_dump?resource=...).
func entryTypes() map[string]string {
	return map[string]string{
		"ListenersConfigDump.DynamicListener":       "dynamic_listeners",
		"ListenersConfigDump.StaticListener":        "static_listeners",
		"ClustersConfigDump.DynamicCluster":         "dynamic_active_clusters",
		"ClustersConfigDump.StaticCluster":          "static_clusters",
		"EndpointsConfigDump.DynamicEndpointConfig": "dynamic_endpoint_configs",
		"EndpointsConfigDump.StaticEndpointConfig":  "static_endpoint_configs",
		"EcdsConfigDump.EcdsFilterConfig":           "ecds_filters",
		"RoutesConfigDump.DynamicRouteConfig":       "dynamic_route_configs",
		"RoutesConfigDump.StaticRouteConfig":        "static_route_configs",
		"SecretsConfigDump.DynamicSecret":           "dynamic_active_secrets",
		"SecretsConfigDump.StaticSecret":            "static_secrets",
	}
}

// dumpTypes are the kinds that the parts of a whole config_dump speak of, even
// where they list none.
func dumpTypes() map[string]string {
	return map[string]string{
		"envoy.admin.v3.ListenersConfigDump": listenerKind,
		"envoy.admin.v3.ClustersConfigDump":  clusterKind,
		"envoy.admin.v3.EndpointsConfigDump": endpointKind,
		"envoy.admin.v3.EcdsConfigDump":      extensionKind,
		"envoy.admin.v3.RoutesConfigDump":    routeKind,
		"envoy.admin.v3.SecretsConfigDump":   secretKind,
	}
}

// kindLists are the keys under which an object may list several kinds.
func kindLists() map[string]string {
	return map[string]string{
		"listeners": listenerKind, "clusters": clusterKind, "endpoints": endpointKind, "extensions": extensionKind,
		"ecds": extensionKind, "routes": routeKind, "secrets": secretKind,
	}
}

// entrySection tells from an entry's own fields which section it is from.
func entrySection(entry value) string {
	if t, ok := entry.member("@type"); ok {
		name := typeName(t.string())
		return entryTypes()[strings.TrimPrefix(name, "envoy.admin.v3.")]
	}
	for _, known := range []struct{ field, section string }{
		{"active_state", "dynamic_listeners"},
		{"warming_state", "dynamic_listeners"},
		{"draining_state", "dynamic_listeners"},
		{"listener", "static_listeners"},
		{"cluster", "dynamic_active_clusters"},
		{"endpoint_config", "dynamic_endpoint_configs"},
		{"ecds_filter", "ecds_filters"},
		{"route_config", "dynamic_route_configs"},
		{"secret", "dynamic_active_secrets"},
	} {
		if inner, ok := entry.member(known.field); ok && inner.kind() == objectNode {
			return known.section
		}
	}
	return ""
}

// typeName is the message name in a type URL.
func typeName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// kindOfType is the kind whose resources have this type URL, "" for any other.
func kindOfType(url string) string {
	name := typeName(url)
	for kind, message := range messages() {
		if string(message) == name {
			return kind
		}
	}
	return ""
}

// guess names the kinds that a resource without a type may be: those whose type
// knows the most of its fields.
func guess(resource value) []string {
	var best []string
	most := 0
	for _, kind := range Kinds() {
		fields := messageType(messages()[kind]).Fields()
		known := 0
		for key := range resource.members() {
			if fieldNamed(fields, key.string()) != nil {
				known++
			}
		}
		switch {
		case known == 0 || known < most:
		case known > most:
			best, most = []string{kind}, known
		default:
			best = append(best, kind)
		}
	}
	return best
}
