// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

// callTimeout is the most that one request of a test may take.
const callTimeout = 5 * time.Second

// inPod makes connections as a program in a pod does: sockets belong to the network
// namespace that they were made in, whoever uses them. So hundreds of requests a
// second cost no process, and the test knows each of them.
type inPod struct {
	pod
	network *os.File
	http    *http.Client // a new connection for each request
}

// enter finds the namespace of a running pod by way of its processes.
func enter(t *testing.T, p pod) *inPod {
	t.Helper()
	pid, err := processOf(p.Metadata.UID)
	if err != nil {
		t.Fatalf("looking for the processes of %s: %v", p.Metadata.Name, err)
	}
	network, err := os.Open(fmt.Sprintf("/proc/%s/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { network.Close() })
	i := &inPod{pod: p, network: network}
	i.http = &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{DialContext: i.dial, DisableKeepAlives: true},
	}
	return i
}

// processOf is any process of a pod; a kubelet names the pod's cgroups after it.
func processOf(uid string) (string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "/pod"+uid+"/") {
			return filepath.Base(filepath.Dir(file)), nil
		}
	}
	return "", errors.New("there are none")
}

// do runs f on a thread in the pod's network.
func (i *inPod) do(f func() error) error {
	return osthread.Throwaway(func() error {
		if err := unix.Setns(int(i.network.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the network of %s: %w", i.Metadata.Name, err)
		}
		return f()
	})
}

func (i *inPod) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = i.do(func() error {
		conn, err = (&net.Dialer{Timeout: callTimeout}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// answer is what came of one request.
type answer struct {
	body  string
	local string // address and port that it was made from
}

// call makes one request on a new connection.
func (i *inPod) call(ctx context.Context, address, path string) (answer, error) {
	var a answer
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := i.dial(ctx, network, address)
		if err == nil {
			a.local = conn.LocalAddr().String()
		}
		return conn, err
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return a, err
	}
	response, err := (&http.Client{Timeout: callTimeout, Transport: transport}).Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	a.body = string(body)
	return a, err
}

// page asks for the application's page, which says who served whom.
func (i *inPod) page(ctx context.Context, address string) (answer, error) {
	return i.call(ctx, address, "/productpage")
}

// ask sends one datagram and returns the answer to it.
func (i *inPod) ask(ctx context.Context, address, question string) (answer, error) {
	conn, err := i.dial(ctx, "udp4", address)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	a := answer{local: conn.LocalAddr().String()}
	if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return a, err
	}
	if _, err := io.WriteString(conn, question); err != nil {
		return a, err
	}
	buffer := make([]byte, 1<<12)
	n, err := conn.Read(buffer)
	a.body = string(buffer[:n])
	return a, err
}
