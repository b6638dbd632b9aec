// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// metricsAddress is where the controller answers, inside the room.
const metricsAddress = "127.0.0.1:15014"

// controller is an ambient-node in a room.
type controller struct {
	pid     int
	started time.Time
	http    *http.Client
	logs    *logs
}

// logs can be read while they are written.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts an ambient-node that keeps the room for the cluster of KUBECONFIG,
// until the test's end.
func (r *room) start(t *testing.T) *controller {
	t.Helper()
	dir := t.TempDir()
	c := &controller{logs: &logs{}}
	cmd := exec.Command("ambient-node", "--node", harness, "--kubeconfig", os.Getenv("KUBECONFIG"), "--tunnel", "vxlan",
		"--state-dir", dir, "--ca-dir", filepath.Join(dir, "ca"), "--xds-socket", filepath.Join(dir, "xds.sock"),
		"--http-addr", metricsAddress)
	cmd.Stdout, cmd.Stderr = c.logs, c.logs
	// It must not outlive a test that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	c.started = time.Now()
	r.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	c.pid = cmd.Process.Pid
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the controller's last words: %s", tail(c.logs.String(), 30))
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the controller's end: %v: %s", err, tail(c.logs.String(), 5))
		}
	})
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(_ context.Context, network, address string) (conn net.Conn, err error) {
			r.do(func() { conn, err = net.Dial(network, address) })
			return conn, err
		},
	}}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines-1):], "")
}

// get asks the controller.
func (c *controller) get(path string) (string, error) {
	answer, err := c.http.Get("http://" + metricsAddress + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(body))
	}
	return string(body), err
}

func (c *controller) untilReady(t *testing.T) {
	t.Helper()
	eventually(t, "the controller", func() error {
		_, err := c.get("/readyz")
		return err
	})
	figure(t, "ready %.2f s after its start", time.Since(c.started).Seconds())
}

// metrics are its metrics that have no labels.
func (c *controller) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := c.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = number
		}
	}
	return values
}

// cost says what the controller has taken of the machine up to now.
func (c *controller) cost(t *testing.T) string {
	t.Helper()
	m := c.metrics(t)
	const mb = 1e6
	return fmt.Sprintf("resident %.0f MB, at most %.0f MB; heap in use %.0f MB, live objects %.0f MB; CPU %.2f s; %.0f snapshots taken, %.0f built in %.2f s",
		m["process_resident_memory_bytes"]/mb, float64(c.peak(t))/mb, m["go_memstats_heap_inuse_bytes"]/mb,
		m["go_memstats_heap_alloc_bytes"]/mb, m["process_cpu_seconds_total"],
		m["ambient_node_snapshots_total"], m["ambient_node_build_seconds_count"], m["ambient_node_build_seconds_sum"])
}

// peak is the most memory that the controller ever had, in bytes.
func (c *controller) peak(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatal("the kernel does not say how much memory the controller had at most")
	return 0
}
