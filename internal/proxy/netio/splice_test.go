// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openPipes counts the ends of pipes that the process has open.
func openPipes(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

func TestIdleConnectionsHoldNoPipes(t *testing.T) {
	const connections = 50
	buffers, before := &Buffers{}, openPipes(t)
	done := make(chan Result, connections)
	for range connections {
		client, near := tcpPair(t)
		up, server := tcpPair(t)
		go func() { done <- Pump(near, up, buffers, &Traffic{}) }()
		for _, way := range [][2]TCP{{client, server}, {server, client}} {
			way[0].Write([]byte("x"))
			if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		defer server.Close()
		defer client.Close()
	}
	if n := openPipes(t) - before; n > 20 {
		t.Errorf("%d idle connections hold %d pipe ends", connections, n)
	}
}

func TestWithoutPipesTheBytesAreCopied(t *testing.T) {
	client, near := tcpPair(t)
	up, server := tcpPair(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)

	done, traffic := make(chan Result, 1), &Traffic{}
	go func() { done <- Pump(near, up, &Buffers{}, traffic) }()
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { client.Write(sent); client.CloseWrite() }()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("read %d bytes of %d, %v", len(got), len(sent), err)
	}
	server.CloseWrite()
	if r := <-done; r.DownstreamErr != nil || r.UpstreamErr != nil || traffic.Up.Load() != int64(len(sent)) {
		t.Errorf("ended with %+v after %d bytes", r, traffic.Up.Load())
	}
}
