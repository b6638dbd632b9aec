// SPDX-License-Identifier: Apache-2.0

// Command verify checks this repository's own habits, those that no ready-made
// linter knows: which package may import which, that packages and exported names
// are documented, that every Go file carries its licence line, that nothing is
// hidden in an init function, that no test sleeps, and that links in the
// documentation lead somewhere.
//
// It is started at the root of the repository, prints one line per fault and
// exits with 1 if there was any.
package main

import (
	"fmt"
	"io"
	"os"
)

// check is one habit. It returns the faults it found, each beginning with a file
// or a package, and an error only where it could not look.
type check struct {
	name string
	run  func(root string) (faults []string, err error)
}

func main() { os.Exit(run(".", os.Stdout, os.Stderr)) }

func run(root string, stdout, stderr io.Writer) int {
	checks := []check{
		{"import directions", checkImports},
		{"Go files", checkSources},
		{"links in the documentation", checkLinks},
	}
	code := 0
	for _, c := range checks {
		faults, err := c.run(root)
		if err != nil {
			fmt.Fprintf(stderr, "verify: checking %s: %v\n", c.name, err)
			code = 1
		}
		for _, f := range faults {
			fmt.Fprintln(stdout, f)
			code = 1
		}
	}
	return code
}
