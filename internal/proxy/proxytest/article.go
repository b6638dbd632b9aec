// SPDX-License-Identifier: Apache-2.0

// Package proxytest helps the tests of the proxy: the resources that the
// article's two ztunnels were served, and a small xDS server to serve them.
package proxytest

import (
	"embed"
	"encoding/json"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	// The types that the resources pack.
	_ "github.com/cncf/xds/go/xds/type/matcher/v3"
	_ "github.com/cncf/xds/go/xds/type/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	_ "github.com/ambient22/ambient22/envoyconfig/workloadmetadata"
)

//go:embed article/*.json
var article embed.FS

// Resources are the messages that one ztunnel is served.
type Resources struct {
	Listeners  []*listenerv3.Listener
	Clusters   []*clusterv3.Cluster
	Endpoints  []*endpointv3.ClusterLoadAssignment
	Extensions []*corev3.TypedExtensionConfig
}

// Article is what the ztunnel of the article's node "a" or "b" was served; each
// call makes new messages.
func Article(node string) (*Resources, error) {
	r := &Resources{}
	for kind, add := range map[string]func([]byte) error{
		"listeners": adder(&r.Listeners, func() *listenerv3.Listener { return &listenerv3.Listener{} }),
		"clusters":  adder(&r.Clusters, func() *clusterv3.Cluster { return &clusterv3.Cluster{} }),
		"endpoints": adder(&r.Endpoints, func() *endpointv3.ClusterLoadAssignment { return &endpointv3.ClusterLoadAssignment{} }),
		"ecds":      adder(&r.Extensions, func() *corev3.TypedExtensionConfig { return &corev3.TypedExtensionConfig{} }),
	} {
		text, err := article.ReadFile("article/" + node + "-" + kind + ".json")
		if err != nil {
			return nil, fmt.Errorf("reading %s of node %s: %w", kind, node, err)
		}
		if err := add(text); err != nil {
			return nil, fmt.Errorf("decoding %s of node %s: %w", kind, node, err)
		}
	}
	return r, nil
}

func adder[T proto.Message](list *[]T, make func() T) func([]byte) error {
	return func(text []byte) error {
		var raw []json.RawMessage
		if err := json.Unmarshal(text, &raw); err != nil {
			return err
		}
		for _, one := range raw {
			m := make()
			if err := protojson.Unmarshal(one, m); err != nil {
				return err
			}
			*list = append(*list, m)
		}
		return nil
	}
}
