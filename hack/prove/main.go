// SPDX-License-Identifier: Apache-2.0

// Command prove compares the tracer's engine with the kernel (see docs/prove.md).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/ambient22/ambient22/internal/trace/prove"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("prove", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o prove.Options
	flags.Uint64Var(&o.Seed, "seed", 0, "makes the same worlds and packets again (0: a random one)")
	flags.IntVar(&o.Packets, "packets", 10000, "how many packets to compare, at least")
	flags.IntVar(&o.PerWorld, "per-world", 250, "how many of them in one world")
	flags.IntVar(&o.Parallel, "parallel", runtime.NumCPU(), "how many worlds at a time")
	flags.StringVar(&o.Kind, "kind", "", "one world alone: random, node, pod or strange, with --world")
	flags.Uint64Var(&o.World, "world", 0, "that world's number")
	flags.DurationVar(&o.Minimise, "minimise", time.Minute, "how long to look for a smaller example of a difference")
	verbose := flags.Bool("v", false, "print a line for each world")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()>>32 + 1
	}
	if *verbose {
		o.Progress = stdout
	}
	fmt.Fprintf(stdout, "seed %d\n", o.Seed)
	report, err := prove.Run(ctx, o)
	fmt.Fprint(stdout, report.Text())
	if err != nil {
		fmt.Fprintln(stderr, "prove:", err)
		return 2
	}
	if report.Found != nil {
		return 1
	}
	return 0
}
