// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

func xdsCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "xds",
		Short: "See what a node's ztunnel is served",
	}
	c.AddCommand(xdsRender(s))
	return c
}

// kinds are the resources of one build by the names they have on a command line.
func kinds(r *envoyconfig.Resources) map[string][]envoyconfig.Resource {
	return map[string][]envoyconfig.Resource{
		"listeners": r.Listeners, "clusters": r.Clusters, "endpoints": r.Endpoints, "extensions": r.Extensions,
	}
}

// renderFlags are the options of xds render, as they are typed.
type renderFlags struct {
	manifests, node, kind, trustDomain, mode string
	disabled                                 []string
}

func xdsRender(s streams) *cobra.Command {
	var o renderFlags
	c := &cobra.Command{
		Use:   "render --manifests DIR --node NODE --kind KIND",
		Short: "Print the resources that the node's ztunnel is served, as JSON",
		Long: `Render builds the resources of one node's ztunnel from Kubernetes manifests, as the node controller does, and
prints those of one kind as a JSON list: sorted by name, field names as in a config_dump, every Any spelled out. The
same mesh gives the same text, so it can be kept and compared.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := o.render()
			if err != nil {
				return err
			}
			_, err = s.out.Write(text)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.manifests, "manifests", "", "folder of Kubernetes manifests that describe the mesh (required)")
	f.StringVar(&o.node, "node", "", "name of the node (required)")
	f.StringVar(&o.kind, "kind", "", "listeners, clusters, endpoints or extensions (required)")
	f.StringVar(&o.trustDomain, "trust-domain", mesh.DefaultTrustDomain, "SPIFFE trust domain")
	f.StringVar(&o.mode, "mesh-mode", "default", "who takes part: off, default (labelled namespaces), on (all namespaces)")
	f.StringArrayVar(&o.disabled, "disabled-selector", nil, "label selector of namespaces that never take part (repeatable)")
	return c
}

// render builds the node's resources and prints those of one kind.
func (o *renderFlags) render() ([]byte, error) {
	var faults []error
	if o.manifests == "" {
		faults = append(faults, errors.New("--manifests is required: a folder of Kubernetes YAML (Node, Namespace, Pod, Service, EndpointSlice)"))
	}
	if o.node == "" {
		faults = append(faults, errors.New("--node is required: the name of a node in the manifests"))
	}
	if _, known := kinds(&envoyconfig.Resources{})[o.kind]; !known {
		faults = append(faults, fmt.Errorf("--kind: %q is none of listeners, clusters, endpoints and extensions", o.kind))
	}
	mode, err := kube.ParseMode(o.mode)
	if err != nil {
		faults = append(faults, fmt.Errorf("--mesh-mode: %w", err))
	}
	selectors, err := kube.ParseSelectors(o.disabled)
	if err != nil {
		faults = append(faults, fmt.Errorf("--disabled-selector: %w", err))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	snapshot, err := manifest.Load(o.manifests, manifest.Options{
		TrustDomain: o.trustDomain, Mode: mode, DisabledSelectors: selectors, Node: o.node,
	})
	if err != nil {
		return nil, err
	}
	options := envoyconfig.Options{Node: o.node}
	if z := snapshot.ActiveZtunnel(o.node); z != nil {
		options.ProxyID = z.Name + "." + z.Namespace
	}
	resources, err := envoyconfig.Build(snapshot, options)
	if err != nil {
		return nil, err
	}
	return envoyconfig.Render(kinds(resources)[o.kind])
}
