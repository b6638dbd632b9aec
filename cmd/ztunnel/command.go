// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
)

func newCommand(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:           "ztunnel",
		Short:         "The proxy of one node, and the preparation of its pod",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(initCommand(getenv), runCommand(getenv), bootstrapCommand(getenv), copyCommand(), versionCommand())
	return root
}

func bootstrapCommand(getenv func(string) string) *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Print the Envoy bootstrap that run would use",
		Long: `bootstrap prints, as JSON, the configuration that an Envoy of istio/proxyv2:1.16 is started with as
this pod's ztunnel. It takes the flags of run, and "run" itself is started from the same message with
either engine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := o.bootstrap()
			if err != nil {
				return err
			}
			b, err := bootstrap.Build(settings)
			if err != nil {
				return err
			}
			text, err := bootstrap.JSON(b)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(text); err != nil {
				return fmt.Errorf("printing the bootstrap: %w", err)
			}
			return nil
		},
	}
	o.flags(cmd.Flags(), getenv)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the build",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ztunnel %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// version is what the go command wrote into the binary: a tag, or the commit with
// its time, or (devel) where the source came without git.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
