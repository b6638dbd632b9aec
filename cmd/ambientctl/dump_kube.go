// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"
)

// dumpKubeFlags say which nodes of which cluster are meant.
type dumpKubeFlags struct {
	cluster   clusterFlags
	namespace string
	nodes     []string
	all       bool
}

func (o *dumpKubeFlags) register(f *pflag.FlagSet) {
	o.cluster.register(f)
	f.StringVarP(&o.namespace, "namespace", "n", "istio-system", "namespace of the node controller and the ztunnels")
	f.StringSliceVar(&o.nodes, "node", nil, "node of a cluster to take a dump of (repeatable)")
	f.BoolVar(&o.all, "all-nodes", false, "take dumps of all nodes of a cluster")
}

// wanted tells whether a cluster's nodes are meant, and not this one.
func (o *dumpKubeFlags) wanted() bool { return o.all || len(o.nodes) > 0 }

func (o *dumpKubeFlags) check() error {
	if o.all && len(o.nodes) > 0 {
		return errors.New("--node and --all-nodes: give one of them")
	}
	return nil
}

func (o *dumpFlags) runCluster(ctx context.Context, s streams) error {
	return errors.ErrUnsupported
}
