// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"encoding/json"
	"fmt"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ambient22/ambient22/internal/proxy/config"

	// What resources pack and nothing else here links in.
	_ "github.com/ambient22/ambient22/envoyconfig/workloadmetadata"
	_ "github.com/cncf/xds/go/xds/type/matcher/v3"
	_ "github.com/cncf/xds/go/xds/type/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
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
)

// pack makes of a resource's JSON what came over the wire.
func pack(body json.RawMessage) (*anypb.Any, error) {
	var a anypb.Any
	if err := protojson.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// listener is the listener of that name; nil where there is none.
func (p *Proxy) listener(name string) (*config.Listener, error) {
	if l, known := p.decodedListeners[name]; known {
		return l, nil
	}
	r, there := p.listeners[name]
	if !there || r.body == nil {
		return nil, nil
	}
	a, err := pack(r.body)
	if err == nil {
		var l *config.Listener
		if l, err = p.decoder.Listener(a); err == nil {
			p.decodedListeners[name] = l
			return l, nil
		}
	}
	return nil, fmt.Errorf("listener %s: %w", name, err)
}

func (p *Proxy) cluster(name string) (*config.Cluster, error) {
	r, there := p.clusters[name]
	if !there || r.state == "warming" {
		return nil, nil
	}
	a, err := pack(r.body)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	c, err := p.decoder.Cluster(a)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	return c, nil
}

// hosts are a cluster's endpoints that are healthy.
func (p *Proxy) hosts(c *config.Cluster) ([]config.Host, error) {
	if c.Type == config.Static {
		return c.Hosts, nil
	}
	r, there := p.endpoints[c.EDSName]
	if !there {
		return nil, nil
	}
	var m endpointv3.ClusterLoadAssignment
	a, err := pack(r.body)
	if err == nil {
		err = a.UnmarshalTo(&m)
	}
	if err != nil {
		return nil, fmt.Errorf("endpoints %s: %w", c.EDSName, err)
	}
	m.Policy = nil // the dump's addition
	for _, l := range m.GetEndpoints() {
		healthy := l.LbEndpoints[:0]
		for _, e := range l.GetLbEndpoints() {
			if s := e.GetHealthStatus(); s == corev3.HealthStatus_HEALTHY || s == corev3.HealthStatus_UNKNOWN {
				healthy = append(healthy, e)
			}
		}
		l.LbEndpoints = healthy
	}
	if a, err = anypb.New(&m); err != nil {
		return nil, fmt.Errorf("endpoints %s: %w", c.EDSName, err)
	}
	_, hosts, err := p.decoder.Endpoints(a)
	if err != nil {
		return nil, fmt.Errorf("endpoints %s: %w", c.EDSName, err)
	}
	return hosts, nil
}

func (p *Proxy) workloads(name string) (*config.Workloads, error) {
	r, there := p.extensions[name]
	if !there {
		return nil, nil
	}
	a, err := pack(r.body)
	if err != nil {
		return nil, fmt.Errorf("extension %s: %w", name, err)
	}
	_, w, err := p.decoder.Extension(a)
	if err != nil {
		return nil, fmt.Errorf("extension %s: %w", name, err)
	}
	return w, nil
}
