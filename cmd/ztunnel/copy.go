// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func copyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "copy FILE",
		Short: "Copy this program to a file",
		Long: `copy puts this program where another container finds it: a pod whose proxy is the Envoy of somebody
else's image runs "ztunnel run --engine=envoy" there from a shared volume.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := copyProgram(args[0]); err != nil {
				return fmt.Errorf("copying this program: %w", err)
			}
			return nil
		},
	}
}

// copyProgram writes the file as a whole or not at all: a pod's sandbox may be made
// anew while the old copy runs.
func copyProgram(to string) (err error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.CreateTemp(filepath.Dir(to), ".copy-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed, as it should
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}
