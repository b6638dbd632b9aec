// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/cmd/internal/meshflags"
	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

func xdsCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "xds",
		Short: "See what a node's ztunnel is served",
	}
	group(c)
	c.AddCommand(xdsRender(s), xdsDiff(s), xdsSize(s))
	return c
}

// kinds are the resources of one build by the names they have on a command line.
func kinds(r *envoyconfig.Resources) map[string][]*envoyconfig.Resource {
	return map[string][]*envoyconfig.Resource{
		"listeners": r.Listeners, "clusters": r.Clusters, "endpoints": r.Endpoints, "extensions": r.Extensions,
	}
}

// meshFlags say what is built: which mesh, for which node, in which form.
type meshFlags struct {
	mesh meshflags.Flags
	form meshflags.Form
}

func (o *meshFlags) register(c *cobra.Command) {
	o.mesh.Register(c.Flags())
	o.form.Register(c.Flags())
}

// load reads the mesh, unless the flags or another check of them find a fault.
func (o *meshFlags) load(fault error) (*mesh.Snapshot, envoyconfig.Options, error) {
	source, err1 := o.mesh.Options()
	options, err2 := o.form.Options()
	if err := errors.Join(err1, err2, fault); err != nil {
		return nil, options, err
	}
	snapshot, err := manifest.Load(o.mesh.Manifests, source)
	if err != nil {
		return nil, options, err
	}
	options.Node, options.ProxyID = o.mesh.Node, snapshot.ProxyID(o.mesh.Node)
	return snapshot, options, nil
}

// allKinds asks for every kind at once.
const allKinds = "all"

// renderFlags are the options of xds render, as they are typed.
type renderFlags struct {
	meshFlags
	kind string
}

func xdsRender(s streams) *cobra.Command {
	var o renderFlags
	c := &cobra.Command{
		Use:   "render --manifests DIR --node NODE --kind KIND",
		Short: "Print the resources that the node's ztunnel is served, as JSON",
		Long: `Render builds the resources of one node's ztunnel from Kubernetes manifests, as the node controller does, and
prints those of one kind as a JSON list: sorted by name, field names as in a config_dump, every Any spelled out. The
same mesh gives the same text, so it can be kept and compared. The kind all prints an object with the lists of all kinds,
which xds diff can hold against a whole config_dump.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return o.render(s.out) },
	}
	o.register(c)
	c.Flags().StringVar(&o.kind, "kind", "", "listeners, clusters, endpoints, extensions or all (required)")
	return c
}

// render builds the node's resources and prints those of one kind.
func (o *renderFlags) render(out io.Writer) error {
	var fault error
	if _, known := kinds(&envoyconfig.Resources{})[o.kind]; !known && o.kind != allKinds {
		fault = fmt.Errorf("--kind: %q is none of listeners, clusters, endpoints, extensions and all", o.kind)
	}
	snapshot, options, err := o.load(fault)
	if err != nil {
		return err
	}
	resources, err := envoyconfig.Build(snapshot, options)
	if err != nil {
		return err
	}
	if o.kind == allKinds {
		return envoyconfig.RenderAll(out, resources)
	}
	return envoyconfig.RenderTo(out, kinds(resources)[o.kind])
}
