// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// SecretRef is a secret that is fetched by name.
type SecretRef struct {
	Name    string
	Cluster string        // the static cluster that serves it
	Delta   bool          // incremental protocol
	Timeout time.Duration // how long what needs it waits at first; 0: for ever
}

// ExtensionRef is a filter configuration that comes over ADS.
type ExtensionRef struct {
	Name    string
	Timeout time.Duration // as in SecretRef
}

// ads reads a config source that must be ADS.
func ads(s *corev3.ConfigSource) (timeout time.Duration, err error) {
	if s.GetAds() == nil {
		return 0, errors.New("only ads is supported here")
	}
	timeout, err = duration(s.GetInitialFetchTimeout(), defaultInitialFetchTimeout)
	if err != nil {
		return 0, in(err, "initial_fetch_timeout")
	}
	return timeout, nil
}

func (d *Decoder) secret(s *tlsv3.SdsSecretConfig) (SecretRef, error) {
	ref := SecretRef{Name: s.GetName()}
	src := s.GetSdsConfig()
	api := src.GetApiConfigSource()
	if api == nil {
		return ref, errors.New("sds_config: only api_config_source is supported here")
	}
	if len(api.GetGrpcServices()) != 1 {
		return ref, fmt.Errorf("sds_config.api_config_source.grpc_services: there are %d, not one", len(api.GetGrpcServices()))
	}
	ref.Cluster = api.GetGrpcServices()[0].GetEnvoyGrpc().GetClusterName()
	if !d.grpcClusters[ref.Cluster] {
		return ref, fmt.Errorf("sds_config.api_config_source.grpc_services[0].envoy_grpc.cluster_name: static cluster %q does not exist", ref.Cluster)
	}
	ref.Delta = api.GetApiType() == corev3.ApiConfigSource_DELTA_GRPC
	var err error
	if ref.Timeout, err = duration(src.GetInitialFetchTimeout(), defaultInitialFetchTimeout); err != nil {
		return ref, in(err, "sds_config.initial_fetch_timeout")
	}
	return ref, nil
}
