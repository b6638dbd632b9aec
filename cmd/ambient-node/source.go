// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/ambient22/ambient22/internal/agent"
	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/kubeapi"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	// rediscover is how often the cluster is asked for policies, about.
	rediscover = 30 * time.Second
	// loadTimeout is how long plan and preflight wait for the API server.
	loadTimeout = 30 * time.Second
)

// cluster are the flags of a mesh that an API server describes, as they are typed.
type cluster struct {
	kubeconfig string
	namespace  string
	configMap  string
}

func (c *cluster) flags(f *pflag.FlagSet) {
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "follow the cluster of this kubeconfig file; a pod of a cluster that has neither this nor --manifests follows its own")
	f.StringVar(&c.configMap, "config-map", "ambient22-config", "ConfigMap with the settings of the mesh, which go before --mesh-mode and --disabled-selector")
	f.StringVar(&c.namespace, "config-namespace", mesh.RootNamespace, "namespace of the ConfigMap")
}

// meshOptions checks the flags that say where the mesh is found. A cluster is meant
// where a kubeconfig is given, or where this runs in a pod and no folder is.
func (o *options) meshOptions() (kube.Options, error) {
	o.mesh.Cluster = o.cluster.kubeconfig != "" || o.mesh.Manifests == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
	settings, err := o.mesh.Options()
	if o.cluster.kubeconfig != "" && o.mesh.Manifests != "" {
		err = errors.Join(err, errors.New("--kubeconfig, --manifests: give one of them"))
	}
	return settings, err
}

// clusterConfig is what following the cluster needs. The embedded CA signs for one
// trust domain, so no other can be set while it runs.
func (o *options) clusterConfig(settings kube.Options, log *slog.Logger) (kubeapi.Config, error) {
	client, policies, err := kubeapi.Connect(o.cluster.kubeconfig)
	if err != nil {
		return kubeapi.Config{}, err
	}
	return kubeapi.Config{
		Kubernetes: client, Dynamic: policies, Node: o.mesh.Node, Defaults: settings, Rediscover: rediscover, Log: log,
		ConfigMap: types.NamespacedName{Namespace: o.cluster.namespace, Name: o.cluster.configMap},
		CheckTrustDomain: func(domain string) error {
			if domain != o.mesh.TrustDomain {
				return fmt.Errorf("certificates are signed for %s (--trust-domain), not for %s", o.mesh.TrustDomain, domain)
			}
			return nil
		},
	}, nil
}

// origin is where the mesh comes from, and who wants to know what became of it.
type origin struct {
	follow   agent.Source
	outcome  func(*mesh.Capture) // what became of it on the node; nil for nobody
	arrivals cni.Controller      // who knows pods that come; nil for nobody
}

// origin follows the mesh where the flags say it is.
func (o *options) origin(settings kube.Options, log *slog.Logger) (origin, error) {
	if !o.mesh.Cluster {
		return origin{follow: func(ctx context.Context, deliver func(*mesh.Snapshot, error)) error {
			return manifest.Watch(ctx, o.mesh.Manifests, settings, deliver)
		}}, nil
	}
	klog.SetSlogLogger(log) // client-go has log lines of its own
	config, err := o.clusterConfig(settings, log)
	if err != nil {
		return origin{}, err
	}
	config.State = o.plugins.write(log)
	source := kubeapi.New(config)
	return origin{source.Run, source.Captured, source}, nil
}

// load reads the mesh once.
func (o *options) load(ctx context.Context, settings kube.Options, log *slog.Logger) (*mesh.Snapshot, error) {
	if !o.mesh.Cluster {
		return manifest.Load(o.mesh.Manifests, settings)
	}
	klog.SetSlogLogger(log)
	config, err := o.clusterConfig(settings, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	return kubeapi.Load(ctx, config)
}
