// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ambient22/ambient22/internal/proxy/admin"
)

func runCommand(getenv func(string) string) *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{
		Use:   "run [flags] [-- ENVOY ARGUMENTS]",
		Short: "Carry the traffic of this node's pods",
		Long: `run is the node's proxy. It takes its whole configuration over xDS from the node controller's socket
and answers on the admin address like Envoy does. SIGTERM and SIGINT end it.

With --engine=envoy it starts the Envoy given by --envoy-path on the same bootstrap instead, passes it
signals and what stands behind "--", and ends with its exit code.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			// A log that nobody reads any more must not end the traffic: without this,
			// Go programs die of writing to a standard output whose reader has gone.
			// Envoy ignores the signal by itself.
			signal.Ignore(syscall.SIGPIPE)
			switch o.engine {
			case engineEmbedded:
				if len(args) > 0 {
					return fmt.Errorf("unknown arguments %q: only --engine=envoy takes any", args)
				}
				return runEmbedded(cmd.Context(), &o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			case engineEnvoy:
				return runEnvoy(cmd.Context(), &o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return flagError("--engine", fmt.Errorf("%q is neither %s nor %s", o.engine, engineEmbedded, engineEnvoy))
		},
	}
	o.flags(cmd.Flags(), getenv)
	return cmd
}

// page is a handler and the socket that it answers on.
type page struct {
	listener net.Listener
	handler  http.Handler
}

// pages opens the sockets of readiness and metrics, those that are asked for. It
// is done before anything is started, so that a port in use ends the program.
func (o *proxyOptions) pages(ctx context.Context, readiness, metrics http.Handler) ([]page, error) {
	var out []page
	for _, p := range []struct {
		flag, addr string
		handler    http.Handler
	}{
		{"--readiness-addr", o.readinessAddr, readiness},
		{"--metrics-addr", o.metricsAddr, metrics},
	} {
		if p.addr == "" {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", p.addr)
		if err != nil {
			closePages(out)
			return nil, flagError(p.flag, err)
		}
		out = append(out, page{l, p.handler})
	}
	return out, nil
}

func closePages(pages []page) {
	for _, p := range pages {
		_ = p.listener.Close() // it is already closed where it was served
	}
}

// together runs the engine with its pages around it: they answer until it has
// ended, also while it drains, and a page that fails ends the engine. The engine's
// own error comes first, because it says what happened.
func together(ctx context.Context, pages []page, engine func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	pagesCtx, stopPages := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPages()
	var group errgroup.Group
	for _, p := range pages {
		group.Go(func() error {
			defer stop()
			return admin.Serve(pagesCtx, p.listener, p.handler)
		})
	}
	engineErr := engine(ctx)
	stopPages()
	return errors.Join(engineErr, group.Wait())
}
