// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// state is everything in the router that a trace could leave behind.
func (w *world) state() string {
	w.t.Helper()
	var b strings.Builder
	for _, argv := range [][]string{
		{"nft", "-s", "list", "ruleset"}, {"iptables-nft-save"}, {"iptables-legacy-save"}, {"ip", "rule"},
		{"ip", "-4", "route", "show", "table", "all"}, {"ip", "-d", "link"}, {"cat", loggerFile},
	} {
		fmt.Fprintf(&b, "%s\n%s", strings.Join(argv, " "), w.run(w.router, "", argv...))
	}
	return commentless(b.String())
}

// commentless leaves out the lines with the time of day.
func commentless(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, ":") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// Whatever happens, the rules and settings are afterwards as before, and what is
// forwarded meanwhile passes.
func TestNothingStays(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			w := newWorld(t, variant)
			w.serve()
			before := w.state()
			w.watched(func() {
				w.call()
				if during := w.state(); !strings.Contains(during, tablePrefix) || !strings.Contains(during, loggerWant) {
					t.Errorf("nothing traces:\n%s", during)
				}
			})
			if after := w.state(); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// childWatches makes the test's program a tracer of the namespace that it names.
const childWatches = "LIVE_TEST_WATCH"

// watchAsChild traces until it is killed.
func watchAsChild(path string) int {
	f := &Filter{Protocol: protoTCP, Near: []netip.Addr{clientIP}, Far: []netip.Addr{vip, serverIP}, Ports: []uint16{vipPort, serverPort}, TunnelPort: tunnelPort}
	if _, err := Watch(Space{Name: "router", Path: path}, f, func(Event) {}); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	select {}
}

func TestNothingStaysAfterSIGKILL(t *testing.T) {
	w := newWorld(t, "legacy")
	w.serve()
	before := w.state()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childWatches+"="+w.router.Path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	w.call()
	if during := w.state(); !strings.Contains(during, tablePrefix) || !strings.Contains(during, loggerWant) {
		t.Errorf("nothing traces:\n%s", during)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	w.call()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for w.state() != before {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("before:\n%s\nafter:\n%s", before, w.state())
		}
	}
}

// A busy connection is not traced as a whole, and one that nobody asked for not at
// all.
func TestFewAreTraced(t *testing.T) {
	w := newWorld(t, "nft")
	w.serve()
	const sent = 5000
	f := w.filter()
	f.Protocol = protoUDP
	var r recorder
	watcher, err := Watch(w.router, f, r.hear)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, port := range []uint16{serverPort, 9999} {
		err := w.client.Do(func() error {
			c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverIP, port)))
			if err != nil {
				return err
			}
			defer c.Close()
			for range sent {
				// The server answers that the port is closed.
				_, _ = c.Write([]byte("x"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	most := otherBurst + int(otherRate*time.Since(began).Seconds()) + 1
	words := watcher.vocabulary()
	if err := watcher.Close(); err != nil {
		t.Error(err)
	}
	j := newJoiner("router", words)
	for _, e := range r.events {
		j.add(e)
	}
	passages := j.finish()
	if len(passages) == 0 || len(passages) > most {
		t.Errorf("%d of %d packets are traced, want some and %d at most", len(passages), sent, most)
	}
	for _, p := range passages {
		if p.First.Dst.Port() == 9999 {
			t.Errorf("%s is traced", &p.First)
		}
	}
}
