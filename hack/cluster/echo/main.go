// SPDX-License-Identifier: Apache-2.0

// Command echo answers on one port, for the tests of the cluster: over TCP with the
// bytes that come, over UDP with one datagram for each, which says who seems to have
// sent it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// largest is the most that a datagram may carry, in bytes.
const largest = 4096

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run answers until ctx ends and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", ":7", "address and port")
	name := flags.String("name", "echo", "name to answer datagrams with")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := serve(ctx, *listen, *name, stdout); err != nil {
		fmt.Fprintln(stderr, "echo:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, address, name string, stdout io.Writer) error {
	streams, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("listening for connections: %w", err)
	}
	defer streams.Close()
	datagrams, err := net.ListenPacket("udp4", streams.Addr().String())
	if err != nil {
		return fmt.Errorf("listening for datagrams: %w", err)
	}
	defer datagrams.Close()
	fmt.Fprintf(stdout, "%s answers on %s\n", name, streams.Addr())
	failed := make(chan error, 2)
	go func() { failed <- answerStreams(streams) }()
	go func() { failed <- answerDatagrams(datagrams, name) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func answerStreams(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("taking a connection: %w", err)
		}
		go func() {
			defer conn.Close()
			// Whatever ends it is the caller's to notice.
			_, _ = io.Copy(conn, conn)
		}()
	}
}

func answerDatagrams(c net.PacketConn, name string) error {
	question := make([]byte, largest)
	for {
		n, from, err := c.ReadFrom(question)
		if err != nil {
			return fmt.Errorf("taking a datagram: %w", err)
		}
		answer := fmt.Sprintf("%s to %s: %s", name, from, question[:n])
		if _, err := c.WriteTo([]byte(answer), from); errors.Is(err, net.ErrClosed) {
			return nil
		}
	}
}
