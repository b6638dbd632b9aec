// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/prometheus/client_golang/prometheus"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// running is a server on a socket, and what it logged and counted.
type running struct {
	*Server
	t        testing.TB
	path     string
	log      *logBuffer
	registry *prometheus.Registry
	source   *fakeSource
	stop     func() error // ends Serve and returns its error
	written  *lastWrite
}

// start serves on a fresh socket; configure may change the server first.
func start(t testing.TB, configure ...func(*Server)) *running {
	t.Helper()
	r := &running{
		t: t, path: filepath.Join(t.TempDir(), "run", "xds.sock"),
		log: &logBuffer{}, registry: prometheus.NewRegistry(), source: newFakeSource(), written: &lastWrite{},
	}
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.Server = New(Config{Secrets: r.source, Log: log, Registerer: r.registry})
	for _, c := range configure {
		c(r.Server)
	}
	lis, err := Listen(r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, watchedListener{lis, r.written}) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return r
}

// dial opens a client connection.
func (r *running) dial() *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient("unix:"+r.path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// metric is the value of a counter or gauge, by name and its label values.
func (r *running) metric(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == "ambient22_xds_"+name && slices.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	r.t.Fatalf("no metric %s%v", name, labels)
	return 0
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// line is the first line that holds every part, or "".
func (l *logBuffer) line(parts ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range strings.Split(l.b.String(), "\n") {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		return line
	}
	return ""
}

// fakeSource issues readable secrets, and new ones after rotate.
type fakeSource struct {
	mu       sync.Mutex
	round    int
	fail     error
	roots    string
	asked    map[string]int
	retained []string
	rotated  chan struct{}
}

func newFakeSource() *fakeSource {
	return &fakeSource{round: 1, roots: "roots", asked: map[string]int{}, rotated: make(chan struct{})}
}

func (f *fakeSource) Certificate(identity string) (chain, key []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[identity]++
	if f.fail != nil {
		return nil, nil, f.fail
	}
	return fmt.Appendf(nil, "chain %d of %s", f.round, identity), fmt.Appendf(nil, "key %d of %s", f.round, identity), nil
}

func (f *fakeSource) Roots() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []byte(f.roots)
}

func (f *fakeSource) setRoots(roots string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.roots = roots
}

func (f *fakeSource) Rotated() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rotated
}

func (f *fakeSource) Retain(identities []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retained = slices.Sorted(slices.Values(identities))
}

// rotate makes new certificates and says so.
func (f *fakeSource) rotate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.round++
	close(f.rotated)
	f.rotated = make(chan struct{})
}

func (f *fakeSource) failWith(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// client is the proxy's side of one stream, of either protocol.
type client[Q, A any] struct {
	t     testing.TB
	rpc   grpc.BidiStreamingClient[Q, A]
	in    chan *A
	ended chan error
	close context.CancelFunc
}

type (
	sotwClient  = client[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	deltaClient = client[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
)

func newClient[Q, A any](t testing.TB, open func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Q, A], error)) *client[Q, A] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rpc, err := open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &client[Q, A]{t: t, rpc: rpc, in: make(chan *A, 1000), ended: make(chan error, 1), close: cancel}
	t.Cleanup(cancel)
	go func() {
		for {
			answer, err := rpc.Recv()
			if err != nil {
				c.ended <- err
				return
			}
			c.in <- answer
		}
	}()
	return c
}

func (r *running) sotw() *sotwClient {
	return newClient(r.t, discoveryv3.NewAggregatedDiscoveryServiceClient(r.dial()).StreamAggregatedResources)
}

func (r *running) delta() *deltaClient {
	return newClient(r.t, discoveryv3.NewAggregatedDiscoveryServiceClient(r.dial()).DeltaAggregatedResources)
}

func (r *running) sds() *sotwClient {
	return newClient(r.t, secretv3.NewSecretDiscoveryServiceClient(r.dial()).StreamSecrets)
}

func (r *running) deltaSDS() *deltaClient { return r.deltaSDSOn(r.dial()) }

func (r *running) deltaSDSOn(conn *grpc.ClientConn) *deltaClient {
	return newClient(r.t, secretv3.NewSecretDiscoveryServiceClient(conn).DeltaSecrets)
}

func (c *client[Q, A]) send(q *Q) {
	c.t.Helper()
	if err := c.rpc.Send(q); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next response.
func (c *client[Q, A]) next() *A {
	c.t.Helper()
	select {
	case a := <-c.in:
		return a
	case err := <-c.ended:
		c.ended <- err
		select {
		case a := <-c.in: // it came before the end
			return a
		default:
			c.t.Fatalf("the stream ended: %v", err)
		}
	case <-time.After(patience):
		c.t.Fatal("no response came")
	}
	return nil
}

// quiet checks that nothing has come. It is for after something else has come
// that the server sends later: responses keep their order.
func (c *client[Q, A]) quiet() {
	c.t.Helper()
	select {
	case a := <-c.in:
		c.t.Fatalf("an unexpected response: %v", a)
	default:
	}
}

func node() *corev3.Node { return &corev3.Node{Id: proxyID} }

// ask subscribes in state of the world, with the node as on a first request.
func ask(k kind, names ...string) *discoveryv3.DiscoveryRequest {
	return &discoveryv3.DiscoveryRequest{Node: node(), TypeUrl: k.typeURL(), ResourceNames: names}
}

// ack accepts a response while asking for names.
func ack(a *discoveryv3.DiscoveryResponse, names ...string) *discoveryv3.DiscoveryRequest {
	return &discoveryv3.DiscoveryRequest{
		TypeUrl: a.TypeUrl, VersionInfo: a.VersionInfo, ResponseNonce: a.Nonce, ResourceNames: names,
	}
}

func refusal(message string) *statuspb.Status {
	return &statuspb.Status{Code: 13, Message: message}
}

// subscribe subscribes in delta.
func subscribe(k kind, names ...string) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{Node: node(), TypeUrl: k.typeURL(), ResourceNamesSubscribe: names}
}

func deltaAck(a *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: a.TypeUrl, ResponseNonce: a.Nonce}
}

// take receives the next delta response, accepts it, and describes it: the kind,
// then the names, removed ones with a minus.
func take(c *deltaClient) (string, *discoveryv3.DeltaDiscoveryResponse) {
	c.t.Helper()
	a := c.next()
	c.send(deltaAck(a))
	return describeDelta(a), a
}

func describeDelta(a *discoveryv3.DeltaDiscoveryResponse) string {
	k, _ := kindOf(a.TypeUrl)
	words := []string{k.String()}
	for _, r := range a.Resources {
		words = append(words, r.Name)
	}
	for _, name := range a.RemovedResources {
		words = append(words, "-"+name)
	}
	return strings.Join(words, " ")
}

// wantDelta takes the next delta response and checks its description.
func wantDelta(c *deltaClient, want string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	got, a := take(c)
	if got != want {
		c.t.Fatalf("got %q, want %q", got, want)
	}
	return a
}

// describe is a state of the world response in words: the kind, then the names.
func describe(t testing.TB, a *discoveryv3.DiscoveryResponse) string {
	t.Helper()
	k, _ := kindOf(a.TypeUrl)
	words := []string{k.String()}
	for _, r := range a.Resources {
		if r.TypeUrl != a.TypeUrl {
			t.Errorf("a %s in a response of %s", r.TypeUrl, a.TypeUrl)
		}
		m, err := r.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, nameOf(k, m))
	}
	return strings.Join(words, " ")
}

// wantSotw takes the next response, accepts it with the same names, and checks
// its description.
func wantSotw(c *sotwClient, want string, names ...string) *discoveryv3.DiscoveryResponse {
	c.t.Helper()
	a := c.next()
	if got := describe(c.t, a); got != want {
		c.t.Fatalf("got %q, want %q", got, want)
	}
	c.send(ack(a, names...))
	return a
}

// versions are a delta response's names and versions.
func versions(a *discoveryv3.DeltaDiscoveryResponse) map[string]string {
	m := map[string]string{}
	for _, r := range a.Resources {
		m[r.Name] = r.Version
	}
	return maps.Clone(m)
}
