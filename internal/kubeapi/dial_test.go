// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refusing is an address that nobody listens at.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDialWaitsForAServerThatComesBack(t *testing.T) {
	address := refusing(t)
	back := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() {
		l, err := net.Listen("tcp", address)
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		back <- err
	})
	conn, err := knock(t.Context(), "tcp", address, time.Millisecond, time.Minute)
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestDialGivesUp(t *testing.T) {
	address := refusing(t)
	if _, err := knock(t.Context(), "tcp", address, time.Millisecond, 20*time.Millisecond); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after its patience: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := knock(ctx, "tcp", address, time.Millisecond, time.Minute); err == nil {
		t.Error("it went on after the end of its context")
	}
}
