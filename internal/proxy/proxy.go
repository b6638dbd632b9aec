// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ambient22/ambient22/internal/proxy/adsclient"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/listener"
	"github.com/ambient22/ambient22/internal/proxy/secret"
	"github.com/ambient22/ambient22/internal/proxy/stats"
	"github.com/ambient22/ambient22/internal/proxy/upstream"
)

// defaultDrain is how long connections may finish when the proxy is stopped.
const defaultDrain = 5 * time.Second

// Options are what a bootstrap does not say.
type Options struct {
	Logger    *slog.Logger    // nil: nothing is logged
	AccessLog io.Writer       // nil: standard output
	Stats     *stats.Registry // nil: the proxy makes its own
	Drain     time.Duration   // how long open connections may finish at the end; 0: 5 s
}

// Proxy is one data plane.
type Proxy struct {
	bootstrap *bootstrapv3.Bootstrap
	o         Options
	started   time.Time
	log       *slog.Logger

	control   *controlPlane
	ads       *adsclient.Client
	secrets   *secret.Store
	clusters  *upstream.Manager
	listeners *listener.Set
	access    *lineWriter
	manager   *manager

	// The context and goroutines of SDS streams; set by Run before any starts.
	ctx     context.Context
	streams sync.WaitGroup
}

// New makes a proxy from an Envoy bootstrap. Run starts it.
func New(b *bootstrapv3.Bootstrap, o Options) (*Proxy, error) {
	control, err := readBootstrap(b)
	if err != nil {
		return nil, fmt.Errorf("reading bootstrap: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AccessLog == nil {
		o.AccessLog = os.Stdout
	}
	if o.Stats == nil {
		o.Stats = &stats.Registry{}
	}
	if o.Drain == 0 {
		o.Drain = defaultDrain
	}
	p := &Proxy{bootstrap: b, o: o, started: time.Now(), log: o.Logger, control: control}
	p.access = newLineWriter(o.AccessLog, o.Stats.Counter("access_log_file.write_failed"), o.Stats.Counter("access_log_file.write_dropped"))
	p.secrets = secret.NewStore(p.fetchSecret)
	p.clusters = upstream.NewManager(p.secrets, o.Stats)
	p.manager = newManager(p)
	p.listeners = listener.NewSet(listener.Options{
		Logger:    o.Logger,
		AccessLog: p.access.write,
		Clusters:  p.clusters,
		Workloads: p.manager.workloads,
		Stats:     o.Stats,
		ClusterID: control.clusterID,
	})
	p.clusters.SetInternalDialer(p.listeners.Dial)
	p.ads = adsclient.New(adsclient.Config{
		Conn:     control.adsConn,
		Service:  adsclient.ADS,
		Delta:    control.ads.GetApiType() == corev3.ApiConfigSource_DELTA_GRPC,
		Node:     b.GetNode(),
		NodeOnce: control.ads.GetSetNodeOnFirstMessageOnly(),
		Handler:  p.manager,
		Logger:   o.Logger.With("stream", "ads"),
	})
	return p, nil
}

// Stats is the proxy's registry.
func (p *Proxy) Stats() *stats.Registry { return p.o.Stats }

// Run takes configuration and serves until ctx ends. Then it lets connections finish
// for the drain time, and resets the rest; while it waits for that, it goes on
// serving those that come, until none do. It always returns nil after an orderly
// end. A Proxy runs once.
func (p *Proxy) Run(ctx context.Context) error {
	// Secrets are fetched until the last connection is gone.
	streams, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.ctx = streams
	go p.access.run(streams)
	p.manager.start()
	serving, finished := context.WithCancel(context.WithoutCancel(ctx))
	defer finished()
	go func() {
		<-ctx.Done()
		p.log.Info("draining connections", "at_most", p.o.Drain)
		p.listeners.Finish(p.o.Drain)
		finished()
	}()
	p.ads.Run(serving)
	p.manager.stop()
	p.listeners.Close(0)
	p.closeTunnels()
	stop()
	p.streams.Wait()
	p.access.wait(farewell)
	p.control.close()
	return nil
}

// farewell is how long the peers of shared connections have to take a GOAWAY, and
// the access log its last lines.
const farewell = time.Second

func (p *Proxy) closeTunnels() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	p.clusters.Close(ctx)
}

// fetchSecret opens a stream for one secret, as Envoy does: a refused name can
// then not take the others down with it.
func (p *Proxy) fetchSecret(e *secret.Entry) (stop func()) {
	ctx, stop := context.WithCancel(p.ctx)
	c := adsclient.New(adsclient.Config{
		Conn:     p.control.conns[e.Ref.Cluster],
		Service:  adsclient.SDS,
		Delta:    e.Ref.Delta,
		Node:     p.bootstrap.GetNode(),
		NodeOnce: true,
		Handler:  &secretHandler{entry: e, decoder: config.NewDecoder(), log: p.log},
		Logger:   p.log.With("stream", "sds", "secret", e.Ref.Name),
	})
	c.Subscribe(secretType, []string{e.Ref.Name})
	p.streams.Go(func() { c.Run(ctx) })
	return stop
}
