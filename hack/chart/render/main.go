// SPDX-License-Identifier: Apache-2.0

// Command render prints the objects of the chart as plain manifests, as "helm
// template" does, for those who have no Helm.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/hack/chart"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program. It returns the process's exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newCommand(stdout)
	root.SetArgs(args)
	root.SetErr(stderr)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(stderr, "render:", err)
		return 1
	}
	return 0
}

func newCommand(stdout io.Writer) *cobra.Command {
	var paths, assignments []string
	c := &cobra.Command{
		Use: "render [--set VALUE] [--values FILE]", Short: "Print the chart's objects",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(*cobra.Command, []string) error {
			values, err := chart.Values(paths, assignments)
			if err != nil {
				return err
			}
			out, err := chart.Render(values)
			if err != nil {
				return err
			}
			_, err = stdout.Write(out.Manifest)
			return err
		},
	}
	c.Flags().StringArrayVar(&paths, "values", nil, "YAML file with values (repeatable; later ones go first)")
	c.Flags().StringArrayVar(&assignments, "set", nil, "a value, such as tunnel=vxlan (repeatable)")
	return c
}
