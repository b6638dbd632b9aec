// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/ambient22/ambient22/envoyconfig"
)

// MaxRequestBytes is the largest request that is taken.
const MaxRequestBytes = 512 << 20

// Config is what a Server needs; every field may be left out.
type Config struct {
	// Secrets issues certificates; without it every secret is refused. A source
	// that has a method Retain([]string) is told which identities are left
	// whenever that changes.
	Secrets SecretSource
	// AllowUIDs are the users whose processes may connect; the server's own
	// when empty.
	AllowUIDs []uint32
	// Log gets what operators should see; nothing is logged without it.
	Log *slog.Logger
	// Registerer gets the metrics, named ambient22_xds_*. One registerer takes
	// those of one server; New panics otherwise.
	Registerer prometheus.Registerer
}

// Server serves one node's configuration. It is safe for use by many goroutines.
type Server struct {
	log     *slog.Logger
	allowed []uint32
	metrics *metrics
	secrets *secretStore

	ackWait               time.Duration // how long a push waits for the answer to the one before
	secretRetry           time.Duration // how long until a secret that failed is tried again
	drain                 time.Duration // how long open streams have to end when serving stops
	deltaBytes, sotwBytes int           // where a response is cut in two, if it may be

	setting sync.Mutex // one Set at a time

	mu      sync.Mutex
	current *snapshot     // nil before the first Set
	changed chan struct{} // closed, and replaced, when current or a secret changed
	streams map[*stream]struct{}
	proxies chan struct{} // closed, and replaced, when the first stream opened or the last ended
	opened  uint64
}

// New makes a server that serves nothing yet: proxies may connect, and wait.
func New(c Config) *Server {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	allowed := c.AllowUIDs
	if len(allowed) == 0 {
		allowed = []uint32{uint32(os.Geteuid())}
	}
	return &Server{
		log:         log,
		allowed:     allowed,
		metrics:     newMetrics(c.Registerer),
		secrets:     newSecretStore(c.Secrets),
		ackWait:     2 * time.Second,
		secretRetry: 5 * time.Second,
		drain:       2 * time.Second,
		deltaBytes:  deltaMessageBytes,
		sotwBytes:   sotwMessageBytes,
		changed:     make(chan struct{}),
		streams:     make(map[*stream]struct{}),
		proxies:     make(chan struct{}),
	}
}

// Set replaces everything that is served. When r is nil, or anything in it is
// invalid or inconsistent, an error lists what is wrong and the server goes on with
// what it had. Set doesn't wait for proxies.
//
// What an envoyconfig.Builder made is taken as it is, and compared with what is
// served by pointer. Resources of other origin are decoded and checked, unless they
// are served already by name and version.
//
// The server keeps r's lists, resources and bytes; nobody may change them
// afterwards.
func (s *Server) Set(r *envoyconfig.Resources) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	defer func(begun time.Time) { s.metrics.setSeconds.Observe(time.Since(begun).Seconds()) }(time.Now())
	old := s.snapshot()
	next, err := newSnapshot(old, r)
	if err != nil {
		s.metrics.sets.WithLabelValues(setRefused).Inc()
		return fmt.Errorf("setting xDS resources: %w", err)
	}
	if next == old {
		s.metrics.sets.WithLabelValues(setUnchanged).Inc()
		return nil
	}
	next.taken = time.Now()
	s.mu.Lock()
	s.current = next
	s.notify()
	s.mu.Unlock()
	if old == nil || old.names.generation != next.names.generation {
		s.secrets.retain(next)
	}
	s.metrics.sets.WithLabelValues(setTaken).Inc()
	s.metrics.serving(next)
	return nil
}

// Forget lets go of everything that was set, as if nothing had been yet. It does
// nothing, and reports false, while a proxy is connected.
func (s *Server) Forget() bool {
	s.setting.Lock()
	defer s.setting.Unlock()
	s.mu.Lock()
	free := len(s.streams) == 0
	if free {
		s.current = nil
	}
	s.mu.Unlock()
	if free {
		s.secrets.retain(&snapshot{})
		s.metrics.serving(&snapshot{})
	}
	return free
}

// Proxies reports whether any proxy is connected. The channel is closed when that
// changes.
func (s *Server) Proxies() (connected bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams) > 0, s.proxies
}

// Serve accepts proxies on lis until ctx ends, and closes lis. Streams are then
// told to come back later; proxies keep the configuration they have. It returns
// nil after such a stop.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	stop := make(chan struct{})
	server := s.grpcServer()
	services := &services{server: s, stop: stop}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, services)
	secretv3.RegisterSecretDiscoveryServiceServer(server, services)

	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { s.watchSecrets(ctx) })
	background.Go(func() {
		<-ctx.Done()
		close(stop)
		s.shutDown(server)
	})
	err := server.Serve(lis)
	cancel()
	background.Wait()
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving xDS on %s: %w", lis.Addr(), err)
	}
	return nil
}

// grpcServer is gRPC as a Unix socket between two processes of one node wants it.
func (s *Server) grpcServer() *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(peerCredentials{allowed: s.allowed, log: s.log, refused: s.metrics.refusedPeers}),
		grpc.ForceServerCodecV2(newRawCodec()),
		grpc.MaxRecvMsgSize(MaxRequestBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		// A proxy that hangs is found out and its stream closed.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		// Proxies may ping as well, also between two streams.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
}

// shutDown lets streams end by themselves, but not for long: one whose proxy
// doesn't read can't be told anything.
func (s *Server) shutDown(server *grpc.Server) {
	late := time.AfterFunc(s.drain, server.Stop)
	defer late.Stop()
	server.GracefulStop()
}

// watchSecrets tells the streams when certificates were renewed.
func (s *Server) watchSecrets(ctx context.Context) {
	if s.secrets.source == nil {
		return
	}
	for {
		rotated := s.secrets.source.Rotated() // before anything is fetched again
		s.secrets.changed()
		s.mu.Lock()
		s.notify()
		s.mu.Unlock()
		select {
		case <-rotated:
			s.log.Debug("certificates were renewed")
		case <-ctx.Done():
			return
		}
	}
}

// snapshot is what is served now, nil before the first Set.
func (s *Server) snapshot() *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// changes returns a channel that is closed at the next change.
func (s *Server) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// notify wakes every stream; the caller holds mu.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// register adds or removes a stream; the caller holds mu.
func (s *Server) register(change func()) {
	before := len(s.streams) > 0
	change()
	if before != (len(s.streams) > 0) {
		close(s.proxies)
		s.proxies = make(chan struct{})
	}
}

// open registers a stream.
func (s *Server) open(rpc grpc.ServerStream, service string, d dialect, who Peer) *stream {
	s.mu.Lock()
	s.opened++
	id := s.opened
	st := &stream{
		server: s, dialect: d, rpc: rpc, service: service,
		log: s.log.With("stream", id, "service", service, "protocol", d.String(), "pid", who.PID),
	}
	st.record.status = ProxyStatus{
		Stream: id, Service: service, Protocol: d.String(), Peer: who, Connected: time.Now(),
	}
	s.register(func() { s.streams[st] = struct{}{} })
	s.mu.Unlock()
	s.metrics.streams.WithLabelValues(service, d.String()).Inc()
	return st
}

// close forgets a stream.
func (s *Server) close(st *stream) {
	s.mu.Lock()
	s.register(func() { delete(s.streams, st) })
	s.mu.Unlock()
	s.metrics.streams.WithLabelValues(st.service, st.dialect.String()).Dec()
	for _, sub := range st.subs {
		if sub != nil {
			clear(sub.rejected)
		}
	}
	s.metrics.rejects(&st.subs)
	st.log.Log(context.Background(), st.lifeLevel(), "proxy's stream ended")
}
