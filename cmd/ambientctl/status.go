// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// statusTimeout is how long the API server may take for everything.
const statusTimeout = 30 * time.Second

// statusFlags are the options of status.
type statusFlags struct {
	cluster clusterFlags
	output  string
}

func statusCommand(s streams) *cobra.Command {
	var o statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Say of every node of a cluster how the data path does there",
		Long: `Status shows of every node its controller, the active ztunnel and others beside it, and how many of the pods
that ask to take part are captured; of those that are not, the reason. It reads the API only. The exit code is 0 where everything
is as it should be, else 1.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), s) },
	}
	o.cluster.register(c.Flags())
	c.Flags().StringVarP(&o.output, "output", "o", "", "json for programs; a table otherwise")
	return c
}

func (o *statusFlags) run(ctx context.Context, s streams) error {
	if o.output != "" && o.output != "json" {
		return fmt.Errorf("--output: %q is not json", o.output)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	client, err := o.cluster.connect(ctx)
	if err != nil {
		return err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = printJSON(s, status)
	} else {
		err = status.Write(s.out)
	}
	if err == nil && !status.Good() {
		return errShown
	}
	return err
}
