// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Limits of requests to the API server, each second and at once. A node whose
// ztunnel comes or goes writes to all of its pods.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 100
)

// Load reads the cluster once, and writes nothing.
func Load(ctx context.Context, c Config) (*mesh.Snapshot, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.ReadOnly = true
	var first *mesh.Snapshot
	err := New(c).Run(ctx, func(s *mesh.Snapshot, _ error) {
		if first == nil {
			first = s
		}
		stop()
	})
	if err == nil && first == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster: %w", err)
	}
	return first, nil
}

// Connect makes the clients of a source: from a kubeconfig file, or, where that is
// "", from the service account of the pod that this runs in.
func Connect(kubeconfig string) (kubernetes.Interface, dynamic.Interface, error) {
	find := func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	if kubeconfig == "" {
		find = rest.InClusterConfig
	}
	config, err := find()
	if err != nil {
		return nil, nil, fmt.Errorf("finding the API server: %w", err)
	}
	config = rest.AddUserAgent(config, Component)
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	config.Dial = dial
	policies, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a client for policies: %w", err)
	}
	// Built-in kinds have a shorter and quicker form than JSON.
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + ",application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	return client, policies, nil
}
