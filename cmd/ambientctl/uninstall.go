// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/deploy"
)

// uninstallFlags are the options of uninstall.
type uninstallFlags struct {
	cluster clusterFlags
	chart   chartFlags
	timeout time.Duration
	force   bool
	nodes   bool
}

func uninstallCommand(s streams) *cobra.Command {
	var o uninstallFlags
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the data path off every node of a cluster, and everything of it out of the API",
		Long: `Uninstall lets all captured pods go, ends the node controllers, runs the cleanup on every node, and deletes every
object of the install, certificate requests and events included. A node is what it was before; a namespace keeps its label,
because somebody else put it there. It can be cut short and run again.

A node that can't be reached is waited for. With --force it is left, and named; when it is back, --nodes has the nodes cleaned
although nothing is left in the API. Where the node controllers' DaemonSet is gone, or its image, --set and --values say how to run the
cleanup, as they did for install.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), s) },
	}
	o.cluster.register(c.Flags())
	o.chart.register(c.Flags())
	c.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for the nodes, and then for the objects")
	c.Flags().BoolVar(&o.force, "force", false, "leave nodes as they are that can't be reached, or not be cleaned in that time")
	c.Flags().BoolVar(&o.nodes, "nodes", false, "clean the nodes also where nothing of the install is left in the API")
	return c
}

func (o *uninstallFlags) run(ctx context.Context, s streams) error {
	if o.timeout <= 0 {
		return fmt.Errorf("--timeout: %v is no time to wait", o.timeout)
	}
	client, err := o.cluster.connect(ctx)
	if err != nil {
		return err
	}
	u := &deploy.Uninstaller{
		Client: client, Out: s.out, Timeout: o.timeout, Force: o.force, Nodes: o.nodes,
		Objects: o.chart.objects, Given: len(o.chart.set)+len(o.chart.files) > 0,
	}
	return u.Run(ctx)
}

// waitCommand is what a pod runs that has done its work and is to stay.
func waitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wait", Short: "Do nothing until told to end", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			<-c.Context().Done()
			return nil
		},
	}
}
