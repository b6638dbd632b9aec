// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/noderoute"
)

// initOptions are the flags of init, as they are typed.
type initOptions struct {
	podName    string
	logRule    bool
	iptables   string
	tunnel     string
	tunnelPort uint16
	procSys    string
	dryRun     bool
}

func initCommand(getenv func(string) string) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Prepare the pod's network for the proxy",
		Long: `init puts the tunnel devices, the TPROXY rules, the policy routing and the sysctls of a ztunnel pod
into the network namespace it is started in, and prints one line for each thing it changed. The pod's
address and its node are read from eth0 and the default route. What is already there is left alone, so
a second run says "nothing to change". It needs root, NET_ADMIN and sysctls
that can be written (--proc-sys).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, config, err := o.check()
			if err != nil {
				return err
			}
			node, err := noderoute.New(settings)
			if err != nil {
				return err
			}
			err = initPod(cmd.Context(), node, config, o.dryRun, cmd.OutOrStdout(), cmd.ErrOrStderr())
			return errors.Join(err, node.Close())
		},
	}
	o.flags(cmd.Flags(), getenv)
	return cmd
}

func (o *initOptions) flags(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&o.podName, "pod-name", getenv(envPodName), "name of this pod, for the prefix of the LOG rule ($"+envPodName+")")
	f.BoolVar(&o.logRule, "log-rule", true, "log every packet's way into the proxy to the kernel log, as the article shows it")
	f.StringVar(&o.iptables, "iptables", noderoute.Auto.String(), "kernel interface of iptables: auto (the one in use), nft or legacy")
	f.StringVar(&o.tunnel, "tunnel", geneve.Geneve.String(), "tunnel devices: geneve, or vxlan on kernels that have no Geneve (ambient-node needs the same)")
	f.Uint16Var(&o.tunnelPort, "tunnel-port", geneve.DefaultPort, "UDP port of the tunnel devices (ambient-node needs the same)")
	f.StringVar(&o.procSys, "proc-sys", "/proc/sys", "folder below which sysctls are written: a mount of the kernel's own, where /proc/sys is read-only")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be changed, and change nothing")
}

func (o *initOptions) check() (noderoute.Options, noderoute.PodConfig, error) {
	variant, err1 := noderoute.ParseVariant(o.iptables)
	kind, err2 := geneve.ParseKind(o.tunnel)
	var err3, err4 error
	if o.tunnelPort == 0 {
		err3 = errors.New("--tunnel-port: 0 is no port; the default is 6081")
	}
	if o.logRule && o.podName == "" {
		err4 = fmt.Errorf("--pod-name is required for the LOG rule (or set $%s, or --log-rule=false)", envPodName)
	}
	err := errors.Join(flagError("--iptables", err1), flagError("--tunnel", err2), err3, err4)
	return noderoute.Options{IPTables: variant, ProcSys: o.procSys}, noderoute.PodConfig{
		PodName: o.podName, LogRule: o.logRule, Tunnel: kind, TunnelPort: o.tunnelPort,
	}, err
}

// initPod looks for what stands in the way, and only then changes anything.
func initPod(ctx context.Context, node *noderoute.Node, c noderoute.PodConfig, dryRun bool, stdout, stderr io.Writer) error {
	problems, err := node.PreflightPod(ctx, c)
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Fprintln(stderr, p)
	}
	if blocking := noderoute.Blocking(problems); len(blocking) > 0 {
		return fmt.Errorf("preparing the pod: %d of these must be out of the way first; nothing was changed", len(blocking))
	}
	if dryRun {
		changes, err := node.DiffPod(ctx, c)
		printChanges(stdout, changes.Lines())
		return err
	}
	result, err := node.InitPod(ctx, c)
	for _, w := range result.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if err != nil && len(result.Changes) == 0 {
		return err
	}
	printChanges(stdout, result.Changes)
	return err
}

func printChanges(w io.Writer, changes []string) {
	for _, c := range changes {
		fmt.Fprintln(w, c)
	}
	if len(changes) == 0 {
		fmt.Fprintln(w, "nothing to change")
	}
}
