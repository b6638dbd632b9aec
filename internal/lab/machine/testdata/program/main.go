// SPDX-License-Identifier: Apache-2.0

// Program is the smallest program that can start machines, for the tests: a test's own binary may be linked dynamically.
//
//	program start STATEDIR    starts a machine that ends with this process, and prints "up"
//	program geneve            prints whether this kernel has Geneve
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ambient22/ambient22/internal/lab/machine"
)

func main() {
	if code, ours := machine.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "start" {
		if _, err := machine.Start(context.Background(), machine.Config{StateDir: args[1], EndWithCaller: true}); err != nil {
			return err
		}
		fmt.Println("up")
		select {}
	}
	has, err := machine.HostHasGeneve()
	fmt.Println(has)
	return err
}
