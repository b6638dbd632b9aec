// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// world is a client, a router with rules, and a server, each a namespace.
type world struct {
	t                      *testing.T
	client, router, server Space
	variant                string // nft or legacy
}

var (
	clientIP = netip.MustParseAddr("10.9.1.2")
	serverIP = netip.MustParseAddr("10.9.2.2")
	vip      = netip.MustParseAddr("10.99.0.1")
)

const (
	vipPort    = 80
	serverPort = 8080
)

// rules of the router: each variant's iptables takes them.
const routerRules = `*mangle
:OWN - [0:0]
-A PREROUTING -j OWN
-A FORWARD -m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220
-A OWN -m connmark --mark 0x220/0x220 -j MARK --set-xmark 0x200/0x200
-A OWN -m mark --mark 0x200/0x200 -j RETURN
-A OWN -i nowhere -j MARK --set-xmark 0x1/0x1
-A OWN -i toclient -j MARK --set-xmark 0x220/0x220
COMMIT
*nat
-A PREROUTING -d 10.99.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.9.2.2:8080
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
COMMIT
`

func newWorld(t *testing.T, variant string) *world {
	w := &world{t: t, variant: variant}
	for name, s := range map[string]*Space{"client": &w.client, "router": &w.router, "server": &w.server} {
		ns := fmt.Sprintf("live%d-%s-%s", os.Getpid(), variant, name)
		if err := netns.Create(ns); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := netns.Delete(ns); err != nil {
				t.Error(err)
			}
		})
		*s = Space{Name: name, Path: netns.Path(ns)}
		w.run(*s, "", "ip", "link", "set", "lo", "up")
	}
	w.link(w.client, "10.9.1.2/24", "10.9.1.1/24", "toclient")
	w.link(w.server, "10.9.2.2/24", "10.9.2.1/24", "toserver")
	w.run(w.router, "", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	w.run(w.router, routerRules, "iptables-"+variant+"-restore")
	w.carry()
	return w
}

// carry waits until the router's devices have a carrier, which the kernel notes a little
// later than they are up.
func (w *world) carry() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for strings.Contains(w.run(w.router, "", "ip", "-4", "route"), "linkdown") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatal("the router's devices have no carrier")
		}
	}
}

func (w *world) link(s Space, address, gateway, device string) {
	w.run(w.router, "", "ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", strings.TrimPrefix(s.Path, "/run/netns/"))
	w.run(w.router, "", "ip", "addr", "add", gateway, "dev", device)
	w.run(w.router, "", "ip", "link", "set", device, "up")
	w.run(s, "", "ip", "addr", "add", address, "dev", "eth0")
	w.run(s, "", "ip", "link", "set", "eth0", "up")
	w.run(s, "", "ip", "route", "add", "default", "via", strings.TrimSuffix(gateway, "/24"))
}

// run runs a command in a namespace and returns what it prints.
func (w *world) run(s Space, stdin string, argv ...string) string {
	w.t.Helper()
	var out, errs bytes.Buffer
	err := s.Do(func() error {
		c := exec.Command(argv[0], argv[1:]...)
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &errs
		return c.Run()
	})
	if err != nil {
		w.t.Fatalf("%s: %s: %v\n%s", s.Name, strings.Join(argv, " "), err, &errs)
	}
	return out.String()
}

// serve answers connections at the server with a line until the test ends.
func (w *world) serve() {
	var l net.Listener
	err := w.server.Do(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", serverIP, serverPort))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "hello")
			c.Close()
		}
	}()
}

// call makes one connection to the VIP and returns the client's address.
func (w *world) call() netip.AddrPort {
	w.t.Helper()
	var from netip.AddrPort
	err := w.client.Do(func() error {
		c, err := net.Dial("tcp4", netip.AddrPortFrom(vip, vipPort).String())
		if err != nil {
			return err
		}
		defer c.Close()
		from = c.LocalAddr().(*net.TCPAddr).AddrPort()
		_, err = c.Read(make([]byte, 10))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return from
}

func (w *world) filter() *Filter {
	return &Filter{
		Protocol: protoTCP, Near: []netip.Addr{clientIP}, Far: []netip.Addr{vip, serverIP},
		Ports: []uint16{vipPort, serverPort}, TunnelPort: 6081,
	}
}
