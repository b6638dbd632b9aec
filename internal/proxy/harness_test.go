// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
	"github.com/ambient22/ambient22/internal/proxy/proxytest"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

// childEnv names the bootstrap file for a test binary that is to be a proxy: a
// process of its own is the only way to be in a network namespace for good.
const childEnv = "AMBIENT22_PROXY_BOOTSTRAP"

func TestMain(m *testing.M) {
	if file := os.Getenv(childEnv); file != "" {
		os.Exit(child(file))
	}
	os.Exit(m.Run())
}

// child runs a proxy until SIGTERM, and serves its state at a Unix socket.
func child(file string) int {
	raw, err := os.ReadFile(file)
	var b bootstrapv3.Bootstrap
	if err == nil {
		err = proto.Unmarshal(raw, &b)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := New(&b, Options{Logger: log, Drain: 200 * time.Millisecond})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with the test, however that ends
		stop()
	}()
	go func() {
		// The test asks for counters and readiness here.
		for range time.Tick(20 * time.Millisecond) {
			writeStatus(p, file+".status")
		}
	}()
	if err := p.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// status is what a test sees of a proxy in another process.
type status struct {
	Ready bool
	Stats map[string]int64
	State *state.Snapshot
}

func writeStatus(p *Proxy, file string) {
	s := status{Ready: p.Ready(), Stats: make(map[string]int64), State: p.State()}
	s.State.Bootstrap = nil
	for _, v := range p.Stats().Snapshot() {
		s.Stats[v.Name] = v.Value
	}
	raw, err := json.Marshal(s)
	if err == nil && os.WriteFile(file+".new", raw, 0o600) == nil {
		os.Rename(file+".new", file)
	}
}

// testProxy is a proxy in a namespace, with its xDS server.
type testProxy struct {
	t       testing.TB
	node    string
	ns      *netns
	server  *proxytest.Server
	socket  string
	file    string
	access  *syncBuffer
	log     *syncBuffer
	process *os.Process

	ca      *proxytest.CA
	res     *proxytest.Resources
	secrets map[string]*tlsv3.Secret
}

// syncBuffer collects output.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newProxy prepares the ztunnel of the article's node "a" or "b" in ns, with an
// xDS server of its own; start starts it.
func newProxy(t testing.TB, node string, ns *netns, ca *proxytest.CA, delta bool) *testProxy {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "x.sock")
	p := newChild(t, node, ns, socket, delta)
	server, err := proxytest.Serve(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p.server, p.socket, p.ca = server, socket, ca
	if p.res, err = proxytest.Article(node); err != nil {
		t.Fatal(err)
	}
	p.issue()
	p.push()
	return p
}

// newChild prepares a ztunnel that takes its configuration from socket.
func newChild(t testing.TB, node string, ns *netns, socket string, delta bool) *testProxy {
	t.Helper()
	o := bootstrap.Default()
	o.PodName, o.PodNamespace, o.PodIP, o.NodeName = "ztunnel-"+node, "istio-system", netip.MustParseAddr("10.4.4.18"), "node-"+node
	o.XDSSocket, o.Delta = socket, delta
	b, err := bootstrap.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	p := &testProxy{t: t, node: node, ns: ns, file: filepath.Join(t.TempDir(), "bootstrap"), access: &syncBuffer{}, log: &syncBuffer{}}
	if err := os.WriteFile(p.file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// issue makes new certificates for every secret that the resources name.
func (p *testProxy) issue() {
	p.t.Helper()
	names := make(map[string]bool)
	for _, l := range p.res.Listeners {
		secretNames(l.ProtoReflect(), names)
	}
	for _, c := range p.res.Clusters {
		secretNames(c.ProtoReflect(), names)
	}
	p.secrets = map[string]*tlsv3.Secret{"ROOTCA": p.ca.Roots("ROOTCA")}
	for name := range names {
		if name == "ROOTCA" {
			continue
		}
		identity, _, _ := strings.Cut(name, "~")
		s, err := p.ca.Secret(name, identity)
		if err != nil {
			p.t.Fatal(err)
		}
		p.secrets[name] = s
	}
}

// push serves what the test has now.
func (p *testProxy) push() {
	p.t.Helper()
	var secrets []*tlsv3.Secret
	for _, s := range p.secrets {
		secrets = append(secrets, s)
	}
	if err := p.server.Set(p.res, secrets); err != nil {
		p.t.Fatal(err)
	}
}

// start runs the proxy and waits until it is ready.
func (p *testProxy) start() {
	p.t.Helper()
	p.launch()
	p.until("proxy is ready", func(s *status) bool { return s.Ready })
}

func (p *testProxy) launch() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", p.ns.name, self)
	cmd.Env = append(os.Environ(), childEnv+"="+p.file, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = p.access, p.log
	if _, err := cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.process = cmd.Process
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := cmd.Wait(); err != nil {
			p.t.Errorf("ztunnel %s: %v", p.node, err)
		}
	}()
	p.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to the log
			<-done
			p.t.Errorf("ztunnel %s did not stop by itself", p.node)
		}
		if p.t.Failed() {
			p.t.Logf("ztunnel %s access log:\n%s", p.node, p.access)
			p.t.Logf("ztunnel %s log:\n%s", p.node, p.log)
		}
	})
}

// until waits for a condition on the proxy's status.
func (p *testProxy) until(what string, met func(s *status) bool) {
	p.t.Helper()
	wait(p.t, what, func() bool {
		raw, err := os.ReadFile(p.file + ".status")
		var s status
		return err == nil && json.Unmarshal(raw, &s) == nil && met(&s)
	})
}

// untilStat waits until a counter or gauge has a value.
func (p *testProxy) untilStat(name string, want int64) {
	p.t.Helper()
	p.untilStatIs(name, fmt.Sprint(want), func(got int64) bool { return got == want })
}

// untilStatIs waits until a counter or gauge has a value that fits, told in words.
func (p *testProxy) untilStatIs(name, words string, fits func(int64) bool) {
	p.t.Helper()
	var got int64
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s is %d", name, got)
		}
	}()
	p.until(name+" is "+words, func(s *status) bool { got = s.Stats[name]; return fits(got) })
}

// wait polls for a condition, for at most 20 s.
func wait(t testing.TB, what string, met func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
