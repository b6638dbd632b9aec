// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeEnvoy writes a program that stands in for Envoy: a shell script. What it
// prints begins with its arguments, one a line.
func fakeEnvoy(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	text := "#!/bin/sh\nfor a in \"$@\"; do echo \"arg $a\"; done\n" + script
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// output takes what the program and its Envoy print at the same time; with real
// files the kernel does that.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func noEnv(string) string { return "" }

func envoyCommand(path string, more ...string) []string {
	return append([]string{
		"run", "--engine=envoy", "--envoy-path", path,
		"--pod-name=ztunnel-rts54", "--pod-ip=10.4.4.18", "--node-name=node-a",
	}, more...)
}

func TestEnvoyIsStartedLikeProxyv2(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	path := fakeEnvoy(t, `stat -c 'mode %a %n' "$2" "$(dirname "$2")"; cat "$2" >&2; exit 0`)
	var stdout, stderr output
	code := execute(t.Context(), noEnv, envoyCommand(path, "--log-level=WARN", "--", "--component-log-level", "upstream:debug"), &stdout, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	var args []string
	for line := range strings.Lines(stdout.String()) {
		if a, ok := strings.CutPrefix(strings.TrimSpace(line), "arg "); ok {
			args = append(args, a)
		}
	}
	file := args[1]
	want := []string{
		"-c", file, "--service-cluster", "istio-proxy",
		"--service-node", "ztunnel~10.4.4.18~ztunnel-rts54.istio-system~istio-system.svc.cluster.local",
		"--drain-time-s", "45", "--drain-strategy", "immediate", "--local-address-ip-version", "v4",
		"--file-flush-interval-msec", "1000", "--disable-hot-restart", "--log-level", "warning", "--concurrency", "2",
		"--component-log-level", "upstream:debug",
	}
	if !slices.Equal(args, want) {
		t.Errorf("arguments\n%q, want\n%q", args, want)
	}
	if !strings.Contains(stdout.String(), "mode 600 "+file) || !strings.Contains(stdout.String(), "mode 700 "+filepath.Dir(file)) {
		t.Errorf("others can read the bootstrap:\n%s", stdout.String())
	}
	if !strings.Contains(stderr.String(), `"cluster_name": "xds-grpc"`) {
		t.Error("the file is not the bootstrap")
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestEnvoysExitCodeIsOurs(t *testing.T) {
	for script, want := range map[string]int{
		"exit 7":         7,
		"kill -SEGV $$":  128 + 11,
		"kill -TERM $$":  128 + 15, // nobody here told it to end
		"echo fine":      0,
		"exec /no/such1": 127,
	} {
		var stdout, stderr output
		if code := execute(t.Context(), noEnv, envoyCommand(fakeEnvoy(t, script)), &stdout, &stderr); code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", script, code, want, stderr.String())
		}
	}
}

// A program that is told to end, as by the kubelet, ends with success however
// Envoy takes its SIGTERM.
func TestEndOfContextIsSIGTERM(t *testing.T) {
	for name, script := range map[string]string{
		"it cleans up": `trap 'echo got TERM; exit 0' TERM; echo ready; while :; do sleep 0.01; done`,
		"it dies":      `echo ready; exec sleep 60`,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			out, in := io.Pipe()
			code := make(chan int, 1)
			go func() {
				var stderr output
				code <- execute(ctx, noEnv, envoyCommand(fakeEnvoy(t, script)), in, &stderr)
				in.Close()
			}()
			lines := bufio.NewScanner(out)
			waitLine(t, lines, "ready")
			cancel()
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			if got := <-code; got != 0 {
				t.Errorf("exit code %d", got)
			}
			if name == "it cleans up" && !strings.Contains(string(rest), "got TERM") {
				t.Errorf("it did not get the signal: %q", rest)
			}
		})
	}
}

func waitLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("%q was not printed: %v", want, lines.Err())
}

func TestPathToEnvoyIsCheckedFirst(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":              "is required with --engine=envoy",
		"/no/such/file": "no such file",
		t.TempDir():     "is a folder",
		plain:           "is not executable",
	} {
		var stderr output
		if code := execute(t.Context(), noEnv, envoyCommand(path), io.Discard, &stderr); code != 1 {
			t.Errorf("%q: exit code %d", path, code)
		}
		if !strings.Contains(stderr.String(), "--envoy-path: ") || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: %s", path, stderr.String())
		}
	}
}

// The kubelet and Prometheus ask this process; it asks Envoy's admin interface.
func TestProbesOfARealEnvoy(t *testing.T) {
	envoy := http.NewServeMux()
	envoy.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	var listeners atomic.Int64
	envoy.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: %d\n", listeners.Load())
	})
	envoy.HandleFunc("/stats/prometheus", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "envoy_x{} 1 %s\n", r.URL.RawQuery)
	})
	adminListener := listen(t)
	server := &http.Server{Handler: envoy}
	go server.Serve(adminListener)
	defer server.Close()

	readiness, metrics := freeAddr(t), freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- execute(ctx, noEnv, envoyCommand(fakeEnvoy(t, "echo ready; exec sleep 60"),
			"--admin-addr", adminListener.Addr().String(), "--readiness-addr", readiness, "--metrics-addr", metrics), in, io.Discard)
		in.Close()
	}()
	waitLine(t, bufio.NewScanner(out), "ready")
	if status, _ := fetch(t, "http://"+readiness+"/healthz/ready"); status != http.StatusServiceUnavailable {
		t.Errorf("readiness of an Envoy that refused its listeners: %d", status)
	}
	listeners.Store(1)
	if status, _ := fetch(t, "http://"+readiness+"/healthz/ready"); status != http.StatusOK {
		t.Errorf("readiness: %d", status)
	}
	if _, body := fetch(t, "http://"+metrics+"/stats/prometheus?usedonly"); body != "envoy_x{} 1 usedonly\n" {
		t.Errorf("metrics: %q", body)
	}
	if status, _ := fetch(t, "http://"+metrics+"/ready"); status != http.StatusNotFound {
		t.Errorf("the metrics port passes on other paths: %d", status)
	}
	server.Close()
	if status, _ := fetch(t, "http://"+readiness+"/healthz/ready"); status != http.StatusServiceUnavailable {
		t.Errorf("readiness without Envoy: %d", status)
	}
	cancel()
	go io.Copy(io.Discard, out)
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// freeAddr is an address that nobody listens on at the moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// An Envoy that is told to end gets its SIGTERM when nothing is open and nobody has come
// for a while, or when the drain time is up. It lets go of its listeners only once
// nobody comes any more.
func TestEnvoyIsDrainedBeforeItEnds(t *testing.T) {
	for name, c := range map[string]struct {
		drain  string
		open   []int // at each look; the last stays
		come   int   // looks during which connections come
		drains int32
		warns  bool
	}{
		"connections finish": {"1m", append(slices.Repeat([]int{3}, 14), 0), 2, 1, false},
		"one stays":          {"3s", []int{3, 1}, 0, 1, true},
		"none is open":       {"1m", []int{0}, 0, 0, false},
		"they keep coming":   {"3s", []int{3}, 100, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var drains, looks atomic.Int32
			admin := http.NewServeMux()
			admin.HandleFunc("POST /drain_listeners", func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "graceful" {
					drains.Add(1)
				}
			})
			admin.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
				look := int(looks.Add(1))
				at := min(look, len(c.open)) - 1
				fmt.Fprintf(w, "listener.0.0.0.0_15001.downstream_cx_total: %d\n", 10+min(look, c.come))
				fmt.Fprintf(w, "listener.0.0.0.0_15001.downstream_cx_active: %d\nlistener.0.0.0.0_15001.worker_0.downstream_cx_active: 9\n", c.open[at])
				fmt.Fprintf(w, "listener.admin.downstream_cx_active: 1\nlistener.admin.main_thread.downstream_cx_active: 1\n")
			})
			listener := listen(t)
			server := &http.Server{Handler: admin}
			go server.Serve(listener)
			defer server.Close()

			ctx, cancel := context.WithCancel(t.Context())
			out, in := io.Pipe()
			code := make(chan int, 1)
			var stderr output
			go func() {
				code <- execute(ctx, noEnv, envoyCommand(fakeEnvoy(t, "echo ready; exec sleep 60"),
					"--admin-addr", listener.Addr().String(), "--drain", c.drain), in, &stderr)
				in.Close()
			}()
			waitLine(t, bufio.NewScanner(out), "ready")
			cancel()
			go io.Copy(io.Discard, out)
			if got := <-code; got != 0 || drains.Load() != c.drains || int(looks.Load()) < len(c.open) {
				t.Errorf("exit code %d after %d drains and %d looks", got, drains.Load(), looks.Load())
			}
			if got := strings.Contains(stderr.String(), "the drain time is up"); got != c.warns {
				t.Errorf("the log: %s", stderr.String())
			}
		})
	}
}
