// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

// started runs the program on a free port and returns its address.
func started(t *testing.T) string {
	t.Helper()
	r, w := io.Pipe()
	ended := make(chan int)
	ctx, cancel := context.WithCancel(context.Background())
	var stderr strings.Builder
	go func() { ended <- run(ctx, []string{"--listen=127.0.0.1:0", "--name=one"}, w, &stderr) }()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("it ended with %d: %s", code, stderr.String())
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(line)
	return fields[len(fields)-1]
}

func TestStreamsComeBackUntilTheirEnd(t *testing.T) {
	conn, err := net.Dial("tcp", started(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, word := range []string{"one", "two"} {
		if _, err := io.WriteString(conn, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestDatagramsSayWhoSentThem(t *testing.T) {
	conn, err := net.Dial("udp", started(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "who am I"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, largest)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(answer[:n]), "one to "+conn.LocalAddr().String()+": who am I"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
