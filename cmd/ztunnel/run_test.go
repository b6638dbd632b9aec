// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/ambient22/ambient22/xds"
)

// asZtunnel has the test binary be the program itself, so that the tests below
// run a process of its own with real signals and an exit code.
const asZtunnel = "ZTUNNEL_TEST_IS_ZTUNNEL"

func TestMain(m *testing.M) {
	if os.Getenv(asZtunnel) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is `ztunnel run` in the calling test's network namespace.
type process struct {
	cmd  *exec.Cmd
	logs *bytes.Buffer // read it after wait
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := command(args...)
	p.begin(t)
	return p
}

func command(args ...string) *process {
	p := &process{cmd: exec.Command("/proc/self/exe", append([]string{"run"}, args...)...), logs: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), asZtunnel+"=1", "POD_NAME=ztunnel-rts54", "INSTANCE_IP=10.4.4.18", "NODE_NAME=node-a")
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	return p
}

func (p *process) begin(t *testing.T) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			t.Logf("ztunnel printed:\n%s", p.logs)
		}
	})
}

// stop asks the process to end, and returns its exit code.
func (p *process) stop(t *testing.T, s os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // the exit code says more
	return p.cmd.ProcessState.ExitCode()
}

// ask sends one request from the test's own thread: only that one is in the
// namespace, and net/http would dial from others.
func ask(t *testing.T, method, addr, path string) (status int, body string, err error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, "", err
	}
	request, err := http.NewRequest(method, "http://"+addr+path, nil)
	if err != nil {
		return 0, "", err
	}
	if err := request.Write(conn); err != nil {
		return 0, "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// await asks until the answer has that status, at most half a minute.
func await(t *testing.T, addr, path string, want int) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, body, err := ask(t, http.MethodGet, addr, path)
		if err == nil && status == want {
			return body
		}
		select {
		case <-deadline:
			t.Fatalf("GET %s%s: %d %q %v, want %d", addr, path, status, body, err, want)
		case <-tick.C:
		}
	}
}

const adminAddr = "127.0.0.1:15000"

func TestRunWithoutAControlPlane(t *testing.T) {
	netnstest.Enter(t)
	p := start(t, "--xds-socket", filepath.Join(t.TempDir(), "xds.sock"), "--readiness-addr=127.0.0.1:15021")
	if body := await(t, adminAddr, "/ready", http.StatusServiceUnavailable); body != "INITIALIZING\n" {
		t.Errorf("/ready: %q", body)
	}
	await(t, "127.0.0.1:15021", "/healthz/ready", http.StatusServiceUnavailable)
	if body := await(t, adminAddr, "/config_dump", http.StatusOK); !strings.Contains(body, "~ztunnel-rts54.istio-system~") {
		t.Errorf("the dump has no bootstrap:\n%s", body)
	}
	if code := p.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, p.logs)
	}
}

// Whoever reads the log may go, as when a container's runtime is restarted:
// traffic goes on.
func TestLogThatNobodyReads(t *testing.T) {
	netnstest.Enter(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	p := command("--xds-socket", serveNode(t))
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.begin(t)
	w.Close()
	await(t, adminAddr, "/ready", http.StatusOK)
	if code := p.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestPortInUseEndsTheProgram(t *testing.T) {
	netnstest.Enter(t)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", adminAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := start(t, "--xds-socket", filepath.Join(t.TempDir(), "xds.sock"))
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.logs.String(), "--admin-addr: ") {
		t.Errorf("exit code %d\n%s", code, p.logs)
	}
}

// The whole program, fed by the real control plane's packages.
func TestRunServesWhatItIsGiven(t *testing.T) {
	for _, mode := range []string{"--delta=false", "--delta=true"} {
		t.Run(mode, func(t *testing.T) {
			netnstest.Enter(t)
			socket := serveNode(t)
			p := start(t, mode, "--xds-socket", socket, "--readiness-addr=127.0.0.1:15021", "--metrics-addr=127.0.0.1:15020", "--drain=0s")
			if body := await(t, adminAddr, "/ready", http.StatusOK); body != "LIVE\n" {
				t.Errorf("/ready: %q", body)
			}
			await(t, "127.0.0.1:15021", "/healthz/ready", http.StatusOK)
			listeners := await(t, adminAddr, "/listeners", http.StatusOK)
			for _, want := range []string{"ztunnel_outbound::0.0.0.0:15001", "ztunnel_inbound::0.0.0.0:15008", "ztunnel_inbound_plaintext::0.0.0.0:15006"} {
				if !strings.Contains(listeners, want) {
					t.Errorf("missing %s in\n%s", want, listeners)
				}
			}
			secrets := await(t, adminAddr, "/config_dump?resource=dynamic_active_secrets", http.StatusOK)
			if !strings.Contains(secrets, `"name": "spiffe://cluster.local/ns/default/sa/sleep~sleep~uid-sleep"`) || !strings.Contains(secrets, "W3JlZGFjdGVkXQ==") {
				t.Errorf("secrets:\n%s", secrets)
			}
			if body := await(t, "127.0.0.1:15020", "/stats/prometheus", http.StatusOK); !strings.Contains(body, "envoy_server_live{} 1\n") {
				t.Errorf("metrics:\n%s", body)
			}
			if status, _, err := ask(t, http.MethodPost, adminAddr, "/logging?level=debug"); status != http.StatusOK || err != nil {
				t.Errorf("setting the log level: %d %v", status, err)
			}
			if status, _, err := ask(t, http.MethodPost, adminAddr, "/quitquitquit"); status != http.StatusOK || err != nil {
				t.Errorf("quitting: %d %v", status, err)
			}
			_ = p.cmd.Wait()
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.logs)
			}
		})
	}
}

// serveNode serves node-a's configuration, with certificates, until the test ends.
func serveNode(t *testing.T) (socket string) {
	t.Helper()
	r, err := envoyconfig.Build(smallMesh(), envoyconfig.Options{Node: "node-a", ProxyID: "ztunnel-rts54.istio-system"})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(t.TempDir(), ca.Options{TrustDomain: mesh.DefaultTrustDomain})
	if err != nil {
		t.Fatal(err)
	}
	server := xds.New(xds.Config{Secrets: authority})
	if err := server.Set(r); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "xds.sock")
	l, err := xds.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serving xDS: %v", err)
		}
	})
	return socket
}

// smallMesh is one pod and one service on one node.
func smallMesh() *mesh.Snapshot {
	ip := netip.MustParseAddr
	return &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Nodes:       []mesh.Node{{Name: "node-a", InternalIP: ip("10.168.15.222")}},
		Workloads: []mesh.Workload{{
			UID: "uid-sleep", Namespace: "default", Name: "sleep", ServiceAccount: "sleep", Node: "node-a",
			IP: ip("10.4.4.19"), Ready: true, Class: mesh.InMesh,
		}},
		Services: []mesh.Service{{Namespace: "default", Name: "sleep", VIP: ip("10.8.4.10"), Ports: []mesh.ServicePort{
			{Name: "http", Number: 80, Endpoints: []mesh.Endpoint{{IP: ip("10.4.4.19"), Port: 80}}},
		}}},
	}
}
