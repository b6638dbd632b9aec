// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a real Kubernetes with two nodes on this machine. Run it by
// way of hack/cluster.sh, which builds what it needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/hack/cluster/kube"
	"github.com/ambient22/ambient22/hack/cluster/traces"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// program is one invocation: its standard streams, and the options of all commands.
type program struct {
	in       io.Reader
	out, err io.Writer

	name, stateDir, binaries string
}

// run executes one command line and returns the exit code: that of the command run
// by `run` and `kubectl`, else 1 for any failure.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{in: stdin, out: stdout, err: stderr}
	root := &cobra.Command{
		Use: "cluster", Short: "A real Kubernetes with two nodes on this machine",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&p.name, "name", "ambient22-cluster", "the cluster's name")
	flags.StringVar(&p.stateDir, "state-dir", "/var/lib/ambient22-cluster", "folder for the clusters' files")
	flags.StringVar(&p.binaries, "binaries", "", "folder with Kubernetes, etcd and kubectl")
	root.AddCommand(p.up(), p.down(), p.kubectl(), p.run(), p.load(), p.daemon(), p.logs(), p.traces(), inside())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	// What a command inside says for itself needs no word from here.
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit == err {
		return max(exit.ExitCode(), 1)
	}
	fmt.Fprintln(stderr, "cluster:", err)
	return 1
}

func (p *program) cluster() *kube.Cluster {
	return &kube.Cluster{Name: p.name, Dir: filepath.Join(p.stateDir, p.name), Binaries: p.binaries}
}

func (p *program) kubectl() *cobra.Command {
	c := &cobra.Command{
		Use: "kubectl ARGUMENTS", Short: "Run kubectl as the cluster's administrator",
		RunE: func(c *cobra.Command, args []string) error {
			return p.attached(p.cluster().Command(c.Context(), append([]string{"kubectl"}, args...)...))
		},
	}
	c.Flags().SetInterspersed(false) // what follows kubectl's verb is kubectl's
	return c
}

func (p *program) run() *cobra.Command {
	var on string
	c := &cobra.Command{
		Use:   "run [--on HOST] -- COMMAND",
		Short: "Run a command with KUBECONFIG and kubectl, in the control plane's network; or on a host",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if on != "" {
				return p.attached(host.Command(c.Context(), p.name, on, args...))
			}
			return p.attached(p.cluster().Command(c.Context(), args...))
		},
	}
	c.Flags().SetInterspersed(false)
	c.Flags().StringVar(&on, "on", "", "control, node-a or node-b: run it there, with that host's files and processes")
	return c
}

// attached runs a command on this program's standard streams.
func (p *program) attached(cmd *exec.Cmd, err error) error {
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.in, p.out, p.err
	return cmd.Run()
}

func (p *program) load() *cobra.Command {
	return &cobra.Command{
		Use: "load ARCHIVE...", Short: "Put container images into both nodes' stores", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, n := range kube.Nodes() {
				if err := p.cluster().LoadImages(c.Context(), n.Name, args...); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (p *program) daemon() *cobra.Command {
	c := &cobra.Command{
		Use: "daemon", Short: "Stop a host's daemon, or let it run again", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Usage() },
	}
	c.AddCommand(&cobra.Command{
		Use: "stop HOST NAME", Short: "End a daemon and keep it from being started again", Args: cobra.ExactArgs(2),
		Example: "  hack/cluster.sh daemon stop control kube-apiserver",
		RunE: func(c *cobra.Command, args []string) error {
			return host.StopDaemon(c.Context(), p.name, args[0], args[1])
		},
	}, &cobra.Command{
		Use: "start HOST NAME", Short: "Let a stopped daemon run again", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return host.StartDaemon(p.name, args[0], args[1]) },
	})
	return c
}

func (p *program) logs() *cobra.Command {
	return &cobra.Command{
		Use: "logs", Short: "Print the folder of the daemons' logs", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, p.cluster().Logs())
			return err
		},
	}
}

func (p *program) traces() *cobra.Command {
	return &cobra.Command{
		Use: "traces", Short: "List what a cluster could leave on the machine", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			lines, err := traces.List(p.name, host.Marker, p.cluster().Dir)
			for _, line := range lines {
				fmt.Fprintln(p.out, line)
			}
			return err
		},
	}
}

func inside() *cobra.Command {
	return &cobra.Command{
		Use: "inside FILE", Short: "Be the first process of a host", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Reset() // the kernel alone ends a host
			return host.InitMain(args[0])
		},
	}
}
