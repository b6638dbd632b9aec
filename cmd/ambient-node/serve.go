// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/ambient22/ambient22/cmd/internal/daemon"
	"github.com/ambient22/ambient22/internal/agent"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/xds"
)

// serve runs the controller until ctx ends. It leaves the data path standing.
func serve(ctx context.Context, o *options, logs io.Writer) error {
	// A log that nobody reads any more must not end the controller: Go programs
	// die of writing to a standard stream whose reader has gone.
	signal.Ignore(syscall.SIGPIPE)
	settings, tunnel, err1 := o.nodeOptions()
	mesh, err2 := o.meshOptions()
	form, err3 := o.form.Options()
	log, err4 := o.log.Logger(logs)
	if err := errors.Join(err1, err2, err3, err4, o.checkServe()); err != nil {
		return err
	}
	source, err := o.origin(mesh, log)
	if err != nil {
		return err
	}
	release, err := agent.Lock(o.stateDir)
	if err != nil {
		return err
	}
	defer release()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	authority, err := o.authority(log, registry)
	if err != nil {
		return err
	}
	node, err := noderoute.New(settings)
	if err != nil {
		return err
	}
	defer node.Close()
	server := xds.New(xds.Config{Secrets: authority, AllowUIDs: o.uids(), Log: log, Registerer: registry})
	told := &known{node: o.mesh.Node}
	controller := agent.New(agent.Config{
		NodeName: o.mesh.Node, Form: form, Tunnel: tunnel, TunnelPort: o.tunnelPort,
		Resync: o.resync, PushDelay: o.pushDelay, PushInterval: o.pushInterval,
		Source: source.follow, Outcome: told.hear(source.outcome), Node: node, XDS: server, Log: log, Metrics: agent.NewMetrics(registry),
	})
	for _, hole := range form.Holes() {
		log.Warn("open in this profile", "profile", form.Profile.String(), "dialect", form.Dialect.String(), "hole", hole)
	}
	if !agent.Hardened(form) {
		for _, hole := range []string{
			"packets that the node itself sends lose every mark bit that somebody else put on them",
			"captured pods get no answer from their own node's InternalIP, nor do the node's own processes from a ClusterIP that leads to them",
		} {
			log.Warn("open in this profile", "profile", form.Profile.String(), "dialect", form.Dialect.String(), "hole", hole)
		}
	}
	log.Info("starting", "node", o.mesh.Node, "manifests", o.mesh.Manifests, "cluster", o.mesh.Cluster, "tunnel", o.tunnel, "xds", o.xdsSocket)
	err = together(ctx,
		func(ctx context.Context) error { return controller.Run(ctx) },
		func(ctx context.Context) error { return authority.Run(ctx) },
		func(ctx context.Context) error { return serveXDS(ctx, server, o.xdsSocket) },
		func(ctx context.Context) error { return o.plugins.serve(ctx, source.arrivals, server.Settled, log) },
		func(ctx context.Context) error {
			return daemon.ServeHTTP(ctx, told.beside(controller.Handler(registry)), o.httpAddr)
		},
	)
	if err != nil {
		return err
	}
	log.Info("stopped; the data path stays as it is")
	return nil
}

// together runs all parts until one of them fails or ctx ends.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}

// serveXDS serves ADS and SDS on the Unix socket. Everybody may open it: who may
// speak is decided by the peer's user id, which the kernel vouches for.
func serveXDS(ctx context.Context, server *xds.Server, socket string) error {
	listener, err := xds.Listen(socket, xds.WithMode(0o666))
	if err != nil {
		return err
	}
	return server.Serve(ctx, listener)
}
