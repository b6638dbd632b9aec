// SPDX-License-Identifier: Apache-2.0

// Program is the smallest program that can start machines, for the tests: a test's own binary may be linked dynamically.
package main

import (
	"os"

	"github.com/ambient22/ambient22/internal/lab/machine"
)

func main() {
	if code, ours := machine.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	os.Exit(2)
}
