// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/internal/cni/install"
	"github.com/ambient22/ambient22/internal/cni/plugin"
)

// options are the flags, as they are typed.
type options struct {
	binDir, confDir string
	socket, state   string
	wait            time.Duration
}

func newCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   plugin.Name,
		Short: "Have pods captured before their first packet",
		Long: `ambient-cni is a chained CNI plugin: started by a container runtime, it holds a pod back until the
node's ambient-node has it captured. Started with one of the commands below, it puts itself on the
node, or takes itself off.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.StringVar(&o.binDir, "bin-dir", "/opt/cni/bin", "where the container runtime finds plugins")
	f.StringVar(&o.confDir, "conf-dir", "/etc/cni/net.d", "where it finds network configurations")
	f.StringVar(&o.socket, "socket", cni.DefaultSocket, "socket of ambient-node, as the container runtime sees it")
	f.StringVar(&o.state, "state", cni.DefaultState, "file that says who takes part while ambient-node does not answer, as the container runtime sees it")
	f.DurationVar(&o.wait, "wait", 20*time.Second, "how long a pod that is to be captured may be held back before its start fails and is tried again")
	root.AddCommand(
		&cobra.Command{
			Use: "install", Short: "Put the plugin on this node and keep it there until a signal comes, which leaves it there", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				i, err := o.installer()
				if err != nil {
					return err
				}
				return i.Keep(cmd.Context(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
			},
		},
		&cobra.Command{
			Use: "ready", Short: "Say whether the container runtime uses the plugin", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				i, err := o.installer()
				if err == nil {
					err = i.Ready()
				}
				if err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), "the plugin is installed")
				}
				return err
			},
		},
		o.removeCommand(),
	)
	return root
}

func (o *options) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove", Short: "Take the plugin off this node; the network configuration is as it was", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := o.installer()
			if err != nil {
				return err
			}
			done, err := i.Remove()
			for _, line := range done {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			if err != nil {
				return err
			}
			line, err := removeState(o.state)
			if line != "" {
				done = append(done, line)
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			if err == nil && len(done) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing of ours on this node")
			}
			return err
		},
	}
}

// removeState removes the file that the controller wrote for the plugin, and its
// folder if nothing else is in it.
func removeState(path string) (done string, err error) {
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("removing the state of the mesh: %w", err)
	}
	_ = os.Remove(filepath.Dir(path)) // it stays where it holds more, or is a mount
	return "removed " + path, nil
}

func (o *options) installer() (*install.Installer, error) {
	if o.wait <= 0 {
		return nil, fmt.Errorf("--wait: %v is no time to wait", o.wait)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return &install.Installer{
		Program: program, BinDir: o.binDir, ConfDir: o.confDir, Kind: plugin.Name,
		Settings: map[string]string{"socket": o.socket, "state": o.state, "wait": o.wait.String()},
		Versions: plugin.Versions().SupportedVersions(),
	}, nil
}
