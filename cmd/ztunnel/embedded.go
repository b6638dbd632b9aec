// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/ambient22/ambient22/internal/proxy"
	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// runEmbedded is the proxy of this project. Access logs go to stdout, its own log
// to stderr.
func runEmbedded(ctx context.Context, o *proxyOptions, stdout, stderr io.Writer) error {
	settings, err1 := o.bootstrap()
	log, level, err2 := o.logger(stderr)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	b, err := bootstrap.Build(settings)
	if err != nil {
		return err
	}
	var registry stats.Registry
	// To the proxy no drain time is its default, to a person it is none at all.
	p, err := proxy.New(b, proxy.Options{Logger: log, AccessLog: stdout, Stats: &registry, Drain: max(o.drain, time.Nanosecond)})
	if err != nil {
		return err
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	config := admin.Config{
		Source: p, Stats: &registry, Version: version(), Quit: quit,
		Draining: func() bool { return ctx.Err() != nil },
		Loggers:  []admin.Logger{{Name: "ztunnel", Level: level}},
	}
	pages, err := o.embeddedPages(ctx, settings, config)
	if err != nil {
		return err
	}
	defer closePages(pages)
	log.Info("starting", "node_id", settings.NodeID(), "node", settings.NodeName, "xds", settings.XDSSocket,
		slog.String("version", version()), "admin", settings.AdminAddr.String())
	err = together(ctx, pages, p.Run)
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// embeddedPages are admin, readiness and metrics, answered from inside the process.
func (o *proxyOptions) embeddedPages(ctx context.Context, settings bootstrap.Options, c admin.Config) ([]page, error) {
	l, err := admin.Listen(ctx, settings.AdminAddr, o.adminAnywhere)
	if err != nil {
		return nil, flagError("--admin-addr", err)
	}
	own := page{l, admin.New(c)}
	clusters, listeners := c.Stats.Counter(clustersTaken), c.Stats.Counter(listenersTaken)
	ready := admin.Readiness(func(*http.Request) bool {
		return c.Source.Ready() && clusters.Get() > 0 && listeners.Get() > 0 && !c.Draining()
	})
	others, err := o.pages(ctx, ready, admin.Metrics(c))
	if err != nil {
		closePages([]page{own})
		return nil, err
	}
	return append(others, own), nil
}
