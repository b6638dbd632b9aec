// SPDX-License-Identifier: Apache-2.0

// Command ztunnel is what runs inside a ztunnel pod: "init" prepares the pod's
// network, "run" is the proxy. "bootstrap" prints what a real Envoy would be
// started with, "copy" puts the program into another container's reach, and
// "version" prints the build.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program. It returns the process's exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return execute(ctx, os.Getenv, args, stdout, stderr)
}

// execute is run with an environment of its own.
func execute(ctx context.Context, getenv func(string) string, args []string, stdout, stderr io.Writer) int {
	root := newCommand(getenv)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "ztunnel:", err)
	if ended, ok := errors.AsType[*engineExit](err); ok {
		return ended.code
	}
	return 1
}
