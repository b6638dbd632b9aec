// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/agent"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
)

func preflightCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Say what stands in the way on this node, without changing anything",
		Long: `preflight looks for whatever would keep the data path from working on this node, and says of each
thing what it is, where to see it, and what to do. It changes nothing. It exits with 1 where the data
path can't work, and with 0 where at most something is worth a look.

With --manifests or --kubeconfig (or in a pod) it also checks what the mesh says of this node: its
address, its ztunnel and its pods. Without them it checks the node alone, also before anything is
installed. docs/preflight.md lists what it finds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			problems, err := o.preflight(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			blocking := len(noderoute.Blocking(problems))
			printProblems(cmd.OutOrStdout(), problems)
			if blocking > 0 {
				return fmt.Errorf("this node can't carry the data path: %s in the way (nothing was changed)", things(blocking))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "this node can carry the data path")
			return nil
		},
	}
	o.nodeFlags(cmd.Flags())
	o.mesh.Register(cmd.Flags())
	o.cluster.flags(cmd.Flags())
	o.form.Register(cmd.Flags())
	return cmd
}

// preflight is what was found about the mesh and on the node. The error is about
// looking, or about flags.
func (o *options) preflight(ctx context.Context, stderr io.Writer) ([]noderoute.Problem, error) {
	settings, tunnel, err := o.nodeOptions()
	if err != nil {
		return nil, err
	}
	form, err := o.form.Options()
	if err != nil {
		return nil, err
	}
	config, problems, err := o.expected(ctx, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	config.Tunnel, config.TunnelPort, config.Hardened = tunnel, o.tunnelPort, agent.Hardened(form)
	node, err := noderoute.New(settings)
	if err != nil {
		return nil, err
	}
	defer node.Close()
	found, err := node.Preflight(ctx, config)
	return append(problems, found...), err
}

// expected is what the mesh wants of this node, as far as it says. What the mesh
// lacks is a problem beside the node's own.
func (o *options) expected(ctx context.Context, log *slog.Logger) (noderoute.HostConfig, []noderoute.Problem, error) {
	if o.mesh.Manifests == "" && o.cluster.kubeconfig == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return noderoute.HostConfig{}, nil, nil
	}
	source, err := o.meshOptions()
	if err != nil {
		return noderoute.HostConfig{}, nil, err
	}
	snapshot, err := o.load(ctx, source, log)
	if err != nil {
		where := "the cluster's API server"
		if !o.mesh.Cluster {
			where = "the manifests"
		}
		return noderoute.HostConfig{}, []noderoute.Problem{{
			What: err.Error(), Where: where, WayOut: "see the message; the node itself was checked all the same", Blocking: true,
		}}, nil
	}
	config, problems := o.ofNode(snapshot)
	return config, problems, nil
}

func (o *options) ofNode(s *mesh.Snapshot) (noderoute.HostConfig, []noderoute.Problem) {
	var problems []noderoute.Problem
	ztunnel := s.ActiveZtunnel(o.mesh.Node)
	if ztunnel == nil {
		problems = append(problems, noderoute.Problem{
			What:   "no ztunnel pod on this node is ready: nothing is captured until there is one",
			Where:  "kubectl --namespace " + mesh.RootNamespace + " get pods -l app=ztunnel --field-selector spec.nodeName=" + o.mesh.Node,
			WayOut: "install the ztunnel DaemonSet, or see why its pod here is not ready",
		})
		ztunnel = &mesh.Workload{}
	}
	config, err := agent.HostConfig(s, o.mesh.Node, ztunnel)
	if err != nil {
		problems = append(problems, noderoute.Problem{
			What:     err.Error(),
			Where:    "kubectl get node " + o.mesh.Node + " -o yaml",
			WayOut:   "have the controller manager give pod ranges (--allocate-node-cidrs), or start the kubelet with an IPv4 --node-ip",
			Blocking: true,
		})
	}
	return config, problems
}

// printProblems writes one paragraph for each.
func printProblems(w io.Writer, problems []noderoute.Problem) {
	for _, p := range problems {
		word := "worth a look"
		if p.Blocking {
			word = "in the way"
		}
		fmt.Fprintf(w, "%s: %s\n    where:   %s\n    way out: %s\n", word, p.What, p.Where, p.WayOut)
	}
}

func things(n int) string {
	if n == 1 {
		return "1 thing is"
	}
	return fmt.Sprintf("%d things are", n)
}
