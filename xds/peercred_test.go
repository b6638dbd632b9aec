// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// fetchEnv makes this test binary fetch the clusters from the named socket as a
// proxy would, print their number, and exit, instead of running tests.
const fetchEnv = "AMBIENT22_TEST_FETCH_CLUSTERS"

func TestMain(m *testing.M) {
	path := os.Getenv(fetchEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	n, err := fetchClusters(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(n)
}

func fetchClusters(path string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(subscribe(clusters)); err != nil {
		return 0, err
	}
	a, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	return len(a.Resources), nil
}

// asUser runs this binary as a proxy of that user and returns what it printed.
func asUser(t *testing.T, path string, uid uint32) (string, error) {
	t.Helper()
	// The user must be able to execute the binary, wherever go test put it.
	binary := filepath.Join(filepath.Dir(filepath.Dir(path)), "proxy")
	if err := os.Link(os.Args[0], binary); err != nil {
		data, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(binary, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Remove(binary)
	cmd := exec.Command(binary)
	cmd.Dir = "/"
	cmd.Env = []string{fetchEnv + "=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// TestPeersByUser opens the socket to everybody, so that only the check of the
// peer's user stands between.
func TestPeersByUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("starting processes of other users takes root")
	}
	const allowed, stranger = 12_022, 12_023
	s, w := start(t, func(s *Server) { s.allowed = []uint32{0, allowed} }), newWorld(t)
	w.set(s.Server)
	if err := os.Chmod(s.path, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(s.path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := asUser(t, s.path, allowed); err != nil || out != "2" {
		t.Errorf("an allowed user got %q, %v", out, err)
	}
	out, err := asUser(t, s.path, stranger)
	if err == nil {
		t.Errorf("a stranger got %q", out)
	}
	if got := s.metric("refused_peers_total"); got < 1 {
		t.Errorf("%v refused peers counted", got)
	}
	line := s.log.line("level=WARN", "refused a peer")
	for _, part := range []string{"uid=12023", "gid=12023", "pid="} {
		if !strings.Contains(line, part) {
			t.Errorf("log line %q lacks %q", line, part)
		}
	}
}

func TestOnlyUnixPeersAreIdentified(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{AllowUIDs: []uint32{0, math.MaxUint32}})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, lis) }()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a server that can't know who asks", n)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestStatusNamesThePeer(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	subscribeAll(c)
	status := s.Status()
	if len(status) != 1 {
		t.Fatalf("%d streams", len(status))
	}
	got := status[0]
	want := Peer{PID: int32(os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	if got.Peer != want || got.Node != proxyID || got.Service != adsService || got.Protocol != "delta" {
		t.Errorf("status %+v, want peer %+v", got, want)
	}
	if len(got.Types) != 4 {
		t.Errorf("%d types, want 4", len(got.Types))
	}
	eventually(t, "everything is accepted", func() bool {
		for _, typ := range s.Status()[0].Types {
			if typ.Unanswered != 0 || typ.Accepted != typ.Sent || typ.AcceptedAt.Before(typ.SentAt) {
				return false
			}
		}
		return true
	})
}
