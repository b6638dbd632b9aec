// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// controlPlane is what the bootstrap says about where configuration comes from.
type controlPlane struct {
	ads       *corev3.ApiConfigSource
	adsConn   *grpc.ClientConn
	conns     map[string]*grpc.ClientConn // by static cluster
	names     []string
	clusterID string
}

func readBootstrap(b *bootstrapv3.Bootstrap) (*controlPlane, error) {
	cp := &controlPlane{ads: b.GetDynamicResources().GetAdsConfig(), conns: make(map[string]*grpc.ClientConn)}
	cp.clusterID = b.GetNode().GetMetadata().GetFields()["CLUSTER_ID"].GetStringValue()
	for i, c := range b.GetStaticResources().GetClusters() {
		conn, err := connect(c)
		if err != nil {
			cp.close()
			return nil, fmt.Errorf("static_resources.clusters[%d] %q: %w", i, c.GetName(), err)
		}
		cp.conns[c.GetName()] = conn
		cp.names = append(cp.names, c.GetName())
	}
	if err := cp.findADS(b); err != nil {
		cp.close()
		return nil, err
	}
	return cp, nil
}

func (cp *controlPlane) findADS(b *bootstrapv3.Bootstrap) error {
	d := b.GetDynamicResources()
	if d.GetLdsConfig().GetAds() == nil || d.GetCdsConfig().GetAds() == nil {
		return errors.New("dynamic_resources: lds_config and cds_config must be ads")
	}
	switch cp.ads.GetApiType() {
	case corev3.ApiConfigSource_GRPC, corev3.ApiConfigSource_DELTA_GRPC:
	default:
		return fmt.Errorf("dynamic_resources.ads_config.api_type: %s is not supported", cp.ads.GetApiType())
	}
	if n := len(cp.ads.GetGrpcServices()); n != 1 {
		return fmt.Errorf("dynamic_resources.ads_config.grpc_services: there are %d, not one", n)
	}
	name := cp.ads.GetGrpcServices()[0].GetEnvoyGrpc().GetClusterName()
	if cp.adsConn = cp.conns[name]; cp.adsConn == nil {
		return fmt.Errorf("dynamic_resources.ads_config.grpc_services[0]: static cluster %q does not exist", name)
	}
	return nil
}

// connect prepares the connection to a static cluster; nothing is dialled yet.
func connect(c *clusterv3.Cluster) (*grpc.ClientConn, error) {
	endpoints := c.GetLoadAssignment().GetEndpoints()
	if len(endpoints) != 1 || len(endpoints[0].GetLbEndpoints()) != 1 {
		return nil, errors.New("load_assignment: exactly one endpoint is supported")
	}
	addr := endpoints[0].GetLbEndpoints()[0].GetEndpoint().GetAddress()
	target := "unix:" + addr.GetPipe().GetPath()
	if sa := addr.GetSocketAddress(); sa != nil {
		target = fmt.Sprintf("dns:///%s:%d", sa.GetAddress(), sa.GetPortValue())
	} else if addr.GetPipe().GetPath() == "" {
		return nil, errors.New("load_assignment: only pipe and socket_address are supported")
	}
	if c.GetTransportSocket() != nil {
		return nil, errors.New("transport_socket: is not supported")
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A large mesh's listener has hundreds of megabytes.
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(streamWindow),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect(), MinConnectTimeout: time.Second}))
	if err != nil {
		return nil, fmt.Errorf("preparing connection to %s: %w", target, err)
	}
	return conn, nil
}

// streamWindow is how much of a response may be under way at once.
const streamWindow = 16 << 20

// reconnect is for a control plane on the same node: a new one is there within
// seconds, and trying costs next to nothing.
func reconnect() backoff.Config {
	return backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}
}

func (cp *controlPlane) close() {
	for _, conn := range cp.conns {
		conn.Close()
	}
}
