// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/collect"
)

// dumpFlags are the options of dump.
type dumpFlags struct {
	collect.Options
	out  string
	pods string
	kube dumpKubeFlags
}

func dumpCommand(s streams) *cobra.Command {
	var o dumpFlags
	c := &cobra.Command{
		Use:   "dump",
		Short: "Take a dump of this node, or of nodes of a cluster",
		Long: `Dump writes down what a node has: the rules of both variants of iptables, ip rules, routes of all tables, devices,
sets, nftables, connections and sysctls, of the node itself, of its ztunnel and of its pods; the configuration of the
ztunnel, and the names that the node controller knows. Keys and tokens are left out. Nothing on the node is changed.

On a node it runs as root. With --node or --all-nodes it works through a cluster's API server instead, and runs in the
pods of the node controller and of the ztunnel.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), s) },
	}
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "folder, FILE.tar.gz, or - for the standard output (default: a new file here)")
	f.StringVar(&o.pods, "pods", strconv.Itoa(collect.DefaultPods), "how many pods' namespaces are taken, captured ones first, or all")
	f.StringVar(&o.Node, "node-name", "", "the node's name (default: what the node controller says)")
	f.StringVar(&o.Only, "only", "", "take only the namespace this runs in, as host, ztunnel or NAMESPACE/NAME")
	f.StringVar(&o.NodeAddr, "node-addr", collect.DefaultNodeAddr, "where the node controller serves HTTP")
	f.StringVar(&o.AdminAddr, "admin-addr", collect.DefaultAdminAddr, "the ztunnel's admin address, in its pod")
	f.DurationVar(&o.Timeout, "timeout", collect.DefaultTimeout, "for each command and request")
	f.IntVar(&o.MaxConns, "max-connections", collect.DefaultMaxConns, "of one network namespace")
	o.kube.register(f)
	return c
}

func (o *dumpFlags) run(ctx context.Context, s streams) error {
	if err := o.check(s); err != nil {
		return err
	}
	o.Tool = "ambientctl dump" + version()
	if o.kube.wanted() {
		return o.runCluster(ctx, s)
	}
	archive, err := collect.Collect(ctx, o.Options)
	if err != nil {
		return err
	}
	return o.write(s, archive)
}

func (o *dumpFlags) check(s streams) error {
	if o.pods == "all" {
		o.Pods = -1
	} else if n, err := strconv.Atoi(o.pods); err == nil && n >= 0 {
		o.Pods = n
	} else {
		return fmt.Errorf("--pods: %q is neither a number nor all", o.pods)
	}
	if o.Timeout <= 0 || o.MaxConns <= 0 {
		return errors.New("--timeout and --max-connections must be more than 0")
	}
	if f, ok := s.out.(*os.File); ok && o.out == "-" {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return errors.New("--out: an archive is not for a terminal; name a file, or lead the output somewhere")
		}
	}
	return o.kube.check()
}

// write writes the archives, and says where they are and what they lack.
func (o *dumpFlags) write(s streams, archives ...*dump.Archive) error {
	if err := writeArchives(s, o.out, archives); err != nil {
		return err
	}
	for _, a := range archives {
		for _, g := range a.Header.Gaps {
			fmt.Fprintf(s.printable().err, "not in the dump of %s: %s\n", a.Header.Node, g)
		}
	}
	return nil
}

// writeArchives writes to the standard output, to out, or to a new file.
func writeArchives(s streams, out string, archives []*dump.Archive) error {
	if out == "-" {
		return dump.Write(s.out, archives...)
	}
	if out == "" {
		name := "nodes"
		if len(archives) == 1 {
			name = archives[0].Header.Node
		}
		out = "dump-" + name + "-" + time.Now().UTC().Format("20060102T150405Z") + dump.Suffix
	}
	if err := dump.WriteTo(out, archives...); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "the dump is in", out)
	return nil
}

// version is this program's version as go build noted it, with a blank before it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return " " + info.Main.Version
	}
	return ""
}
