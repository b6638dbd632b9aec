// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/agent"
	"github.com/ambient22/ambient22/noderoute"
)

func newCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "ambient-node",
		Short: "Put the data path on this node and serve its ztunnel",
		Long: `ambient-node puts the tunnel devices, rules, routes and marks of the legacy ambient data path on
the node it runs on, keeps them there, and serves xDS and certificates to the node's ztunnel over a
Unix socket. It acts in the network namespace it is started in. Stopping it leaves the data path
standing; "ambient-node cleanup" takes it away and restores the node.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), &o, cmd.ErrOrStderr())
		},
	}
	o.nodeFlags(root.Flags())
	o.mesh.Register(root.Flags())
	o.cluster.flags(root.Flags())
	o.form.Register(root.Flags())
	o.serveFlags(root.Flags())
	root.AddCommand(cleanupCommand(), preflightCommand(), planCommand())
	return root
}

func cleanupCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Take the data path off this node and restore what was changed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, _, err := o.nodeOptions()
			if err != nil {
				return err
			}
			release, err := agent.Lock(o.stateDir)
			if err != nil {
				return err
			}
			defer release()
			node, err := noderoute.New(settings)
			if err != nil {
				return err
			}
			defer node.Close()
			result, err := node.Cleanup(cmd.Context())
			if err == nil || len(result.Changes) > 0 {
				printResult(cmd, result, "nothing of ours on this node")
			}
			if err != nil {
				return err
			}
			return agent.RemoveLeftovers(o.stateDir)
		},
	}
	o.nodeFlags(cmd.Flags())
	return cmd
}

func planCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what would be changed on this node, without changing anything",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withPlan(cmd, func(node *noderoute.Node, config noderoute.HostConfig) error {
				changes, err := node.Diff(cmd.Context(), config)
				if err != nil {
					return err
				}
				printResult(cmd, noderoute.Result{Changes: changes.Lines()}, "nothing to change")
				return nil
			})
		},
	}
	o.nodeFlags(cmd.Flags())
	o.mesh.Register(cmd.Flags())
	o.cluster.flags(cmd.Flags())
	o.form.Register(cmd.Flags())
	return cmd
}

// withPlan loads the mesh once and calls do with what this node should look like.
func (o *options) withPlan(cmd *cobra.Command, do func(*noderoute.Node, noderoute.HostConfig) error) error {
	settings, tunnel, err := o.nodeOptions()
	if err != nil {
		return err
	}
	source, err := o.meshOptions()
	if err != nil {
		return err
	}
	form, err := o.form.Options()
	if err != nil {
		return err
	}
	snapshot, err := o.load(cmd.Context(), source, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	ztunnel := snapshot.ActiveZtunnel(o.mesh.Node)
	if ztunnel == nil {
		return fmt.Errorf("node %s has no ready ztunnel pod (label app=ztunnel, namespace istio-system): nothing would be captured", o.mesh.Node)
	}
	config, err := agent.HostConfig(snapshot, o.mesh.Node, ztunnel)
	if err != nil {
		return err
	}
	config.Tunnel, config.TunnelPort, config.Hardened = tunnel, o.tunnelPort, agent.Hardened(form)
	node, err := noderoute.New(settings)
	if err != nil {
		return err
	}
	defer node.Close()
	return do(node, config)
}

func printResult(cmd *cobra.Command, r noderoute.Result, nothing string) {
	for _, change := range r.Changes {
		fmt.Fprintln(cmd.OutOrStdout(), change)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), nothing)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
	}
}
