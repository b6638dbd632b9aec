// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/lab"
)

func labDump(s streams, o *labFlags) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "dump", Short: "Take dumps of all nodes of the lab", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// Where the lab runs in a machine, this command runs there, too, and its
			// output comes here.
			var there bytes.Buffer
			here := func(l *lab.Lab) error {
				archives, err := dumpNodes(c.Context(), l, s)
				if err != nil {
					return err
				}
				return writeArchives(s, out, archives)
			}
			inside := streams{in: s.in, out: &there, err: s.err}
			if err := onRunning(c.Context(), o, inside, here, []string{"dump", "--out", "-"}); err != nil || there.Len() == 0 {
				return err
			}
			archives, err := dump.LoadFrom(&there)
			if err != nil {
				return fmt.Errorf("reading what the machine sent: %w", err)
			}
			return writeArchives(s, out, archives)
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder, FILE.tar.gz, or - for the standard output (default: a new file here)")
	return c
}

// dumpNodes runs dump on every node of the lab, on all of them at once.
func dumpNodes(ctx context.Context, l *lab.Lab, s streams) ([]*dump.Archive, error) {
	hosts := l.Net.Topology.Nodes
	found, said := make([][]*dump.Archive, len(hosts)), make([]bytes.Buffer, len(hosts))
	group, ctx := errgroup.WithContext(ctx)
	for i := range hosts {
		group.Go(func() (err error) {
			found[i], err = dumpNode(ctx, l, hosts[i].Host, &said[i])
			return err
		})
	}
	err := group.Wait()
	for i := range said {
		if _, writeErr := said[i].WriteTo(s.err); err == nil {
			err = writeErr
		}
	}
	if err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

func dumpNode(ctx context.Context, l *lab.Lab, host string, said io.Writer) ([]*dump.Archive, error) {
	cmd, err := l.Net.Command(ctx, host, filepath.Join(l.BinDir, "ambientctl"), "dump", "--out", "-", "--pods", "all")
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("taking a dump of %s: %w", host, err)
	}
	archives, err := dump.LoadFrom(&text)
	if err != nil {
		return nil, fmt.Errorf("reading the dump of %s: %w", host, err)
	}
	return archives, nil
}
