// SPDX-License-Identifier: Apache-2.0

// Command ambient-cni is a chained CNI plugin that has pods captured before their
// first packet, and puts itself on a node or takes itself off.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/ambient22/ambient22/internal/cni/plugin"
)

func main() {
	if os.Getenv("CNI_COMMAND") != "" {
		os.Exit(runPlugin(os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// runPlugin answers a container runtime, which says by environment and standard input
// what it wants. Results and errors are JSON on standard output.
func runPlugin(stdout, stderr io.Writer) int {
	p := &plugin.Plugin{Out: stdout, Err: stderr}
	failed := skel.PluginMainFuncsWithError(p.Funcs(), plugin.Versions(), plugin.About)
	if failed == nil {
		return 0
	}
	if err := failed.Print(); err != nil {
		fmt.Fprintln(stderr, "ambient-cni: writing the error:", err)
	}
	return 1
}

// run is the program as people and pods start it. It returns the process's exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "ambient-cni:", err)
		return 1
	}
	return 0
}
