// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// way is where connections are opened from and to, and how the data path takes them.
type way struct {
	name     string
	host     string
	url      string // of a new connection's request
	echo     string // of a connection that stays
	perSec   int
	captured bool
}

// rolloutWays pass node A's ztunnel in each direction it has, and past it.
func rolloutWays() []way {
	return []way{
		{"out through a tunnel", "sleep", "http://10.8.9.83:9080/", "10.4.3.15:7777", 60, true},
		{"out plainly, with the pod's address", "sleep", "http://10.4.3.30:8080/", "10.4.3.30:7777", 40, true},
		{"within the node", "sleep", "http://10.8.1.204:8000/", "10.4.4.11:7777", 40, true},
		{"in through a tunnel", "ratings", "http://10.8.1.204:8000/", "10.4.4.11:7777", 40, true},
		{"in plainly", "outside-b", "http://10.4.4.11:80/", "10.4.4.11:7777", 40, true},
		{"not captured", "outside-a", "http://10.4.3.30:8080/", "10.4.3.30:7777", 200, false},
	}
}

// tally is what came of new connections on one way.
type tally struct {
	ok, late, failed atomic.Int64
	longest          atomic.Int64 // nanoseconds
	mu               sync.Mutex
	errs             []string
}

func (y *tally) String() string {
	return fmt.Sprintf("%5d answered, %d of them after more than 0.9 s, longest %v; %d lost %s",
		y.ok.Load(), y.late.Load(), time.Duration(y.longest.Load()).Round(time.Millisecond), y.failed.Load(), strings.Join(y.errs, "; "))
}

// knock opens connections at an even rate until ctx ends, each for one request.
func knock(ctx context.Context, l *Lab, w way, y *tally) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return l.dial(ctx, w.host, addr) },
	}}
	var calls sync.WaitGroup
	defer calls.Wait()
	tick := time.NewTicker(time.Second / time.Duration(w.perSec))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		calls.Go(func() {
			start := time.Now()
			err := fetch(client, w.url)
			took := time.Since(start)
			if err != nil {
				y.failed.Add(1)
				y.mu.Lock()
				y.errs = append(y.errs, fmt.Sprintf("%s: %v", start.Format("05.000"), err))
				y.mu.Unlock()
				return
			}
			y.ok.Add(1)
			if took > 900*time.Millisecond {
				y.late.Add(1)
			}
			for is := y.longest.Load(); int64(took) > is && !y.longest.CompareAndSwap(is, int64(took)); is = y.longest.Load() {
			}
		})
	}
}

func fetch(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// echoes answers in a host with what it gets.
func echoes(t *testing.T, l *Lab, host string) {
	t.Helper()
	var listener net.Listener
	err := netns.Do(l.Net.Namespace(host), func() (err error) {
		listener, err = net.Listen("tcp4", ":7777")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
}

// stay is a connection that is kept, and used now and then.
type stay struct {
	way  string
	conn net.Conn
	dead error
}

func (s *stay) ping() error {
	if s.dead != nil {
		return s.dead
	}
	text := []byte("still there?")
	_ = s.conn.SetDeadline(time.Now().Add(3 * time.Second))
	_, err := s.conn.Write(text)
	if err == nil {
		_, err = io.ReadFull(s.conn, text)
	}
	s.dead = err
	return err
}

func keep(t *testing.T, l *Lab, w way) *stay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	conn, err := l.dial(ctx, w.host, w.echo)
	if err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &stay{way: w.name, conn: conn}
	if err := s.ping(); err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	return s
}

// addZtunnel is another ztunnel of node A, the n-th.
func addZtunnel(t *testing.T, l *Lab, n int) topology.Pod {
	t.Helper()
	pod := topology.Pod{
		Host: fmt.Sprintf("ztunnel-a%d", n), Node: "node-a", Address: netip.AddrFrom4([4]byte{10, 4, 4, byte(100 + n)}),
		Veth: fmt.Sprintf("vethz%d", n), Namespace: "istio-system", Pod: fmt.Sprintf("ztunnel-new%d", n),
	}
	if err := l.Net.AddPod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Net.RemovePod(context.Background(), pod.Host); err != nil {
			t.Error(err)
		}
	})
	node, _ := l.Net.Topology.Node("node-a")
	if err := l.startZtunnelPod(t.Context(), &pod, node); err != nil {
		t.Fatal(err)
	}
	return pod
}

// setZtunnels writes the pods of node A's ztunnels: those named are there, and ready
// or not. The later one is the newer.
func setZtunnels(t *testing.T, l *Lab, pods []topology.Pod, ready map[string]bool) {
	t.Helper()
	first, rest, _ := strings.Cut(ztunnelManifest(t, l), "\n---\n")
	first = strings.ReplaceAll(first, `status: "False"`, `status: "True"`)
	var docs []string
	for i, p := range pods {
		doc := strings.NewReplacer("ztunnel-rts54", p.Pod, "10.4.4.18", p.Address.String(),
			"a1111111-0000-4000-8000-000000000002", fmt.Sprintf("a1111111-0000-4000-8000-%012d", 900+i),
			"2022-11-08T06:30:05Z", fmt.Sprintf("2022-11-08T07:30:%02dZ", i)).Replace(first)
		if !ready[p.Host] {
			doc = strings.Replace(doc, `status: "True"`, `status: "False"`, 1)
		}
		docs = append(docs, doc)
	}
	replace(t, filepath.Join(l.Manifests(), "ztunnel.yaml"), strings.Join(append(docs, rest), "\n---\n"))
}

// ztunnelManifest is the lab's own.
func ztunnelManifest(t *testing.T, l *Lab) string {
	t.Helper()
	file, err := l.folder.Open("manifests/ztunnel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// activeIs tells whether both tunnels of node A lead to a ztunnel.
func activeIs(t *testing.T, l *Lab, p topology.Pod) error {
	t.Helper()
	for _, device := range []string{"istioin", "istioout"} {
		if err := want(output(t, l, "node-a", "ip", "-d", "link", "show", device), "remote "+p.Address.String()+" "); err != nil {
			return err
		}
	}
	return nil
}

// One ztunnel of a node takes over from another, 20 times, while connections come
// and stay: none is lost, whichever way it takes, and when the last of the old ones
// is gone the node is what it was.
func TestZtunnelsTakeOver(t *testing.T) {
	for _, iptables := range []string{"nft", "legacy"} {
		t.Run(iptables, func(t *testing.T) {
			l := up(t, iptables)
			takeOver(t, l)
		})
	}
}

func takeOver(t *testing.T, l *Lab) {
	for _, host := range []string{"details", "outside-b", "httpbin"} {
		echoes(t, l, host)
	}
	old, _ := l.Net.Topology.Pod("ztunnel-a")
	pods := []topology.Pod{*old, addZtunnel(t, l, 2)}
	before := nodeDump(t, l, "node-a")

	ways := rolloutWays()
	tallies := make([]tally, len(ways))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var knocks sync.WaitGroup
	for i, w := range ways {
		knocks.Go(func() { knock(ctx, l, w, &tallies[i]) })
	}
	var stays []*stay
	switches := 20
	for n := range switches {
		for _, w := range ways {
			stays = append(stays, keep(t, l, w))
		}
		next := pods[(n+1)%2]
		setZtunnels(t, l, pods, map[string]bool{next.Host: true})
		eventually(t, "the tunnels lead to "+next.Host, func() error { return activeIs(t, l, next) })
		for _, s := range stays {
			if s.dead == nil && s.ping() != nil {
				t.Errorf("switch %d: %s: %v", n, s.way, s.dead)
			}
		}
	}
	stop()
	knocks.Wait()
	for i, w := range ways {
		t.Logf("%-36s %s", w.name, tallies[i].String())
		if tallies[i].failed.Load() > 0 {
			t.Errorf("%s: connections were lost", w.name)
		}
	}
	t.Logf("%d connections stayed over up to %d switches", len(stays), switches)

	// The other one goes: only the article's rules are left.
	setZtunnels(t, l, pods[:1], map[string]bool{pods[0].Host: true})
	eventually(t, "the node is as before", func() error {
		for command, was := range before {
			if now := nodeDump(t, l, "node-a")[command]; now != was {
				return fmt.Errorf("%s prints\n%s\nand not\n%s", command, now, was)
			}
		}
		return nil
	})
}

// drainTime is how long an old ztunnel of the roll-out serves on.
const drainTime = 6 * time.Second

// A roll-out, as a DaemonSet makes it: the new pod is ready, the old one is told to end
// at once, serves what it has until its drain time is over, and goes. Nobody loses a
// new connection; those that were open on the old one end with it, and all others go
// on. Afterwards the node is as it was.
func TestRollout(t *testing.T) {
	o := options(t, "nft")
	o.Drain = drainTime
	l := upWith(t, o)
	for _, host := range []string{"details", "outside-b", "httpbin"} {
		echoes(t, l, host)
	}
	first, _ := l.Net.Topology.Pod("ztunnel-a")
	old := *first
	before := nodeDump(t, l, "node-a")

	ways := rolloutWays()
	tallies := make([]tally, len(ways))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var knocks sync.WaitGroup
	for i, w := range ways {
		knocks.Go(func() { knock(ctx, l, w, &tallies[i]) })
	}
	var stays []*stay
	for _, w := range ways {
		stays = append(stays, keep(t, l, w))
	}
	next := addZtunnel(t, l, 2)
	setZtunnels(t, l, []topology.Pod{old, next}, map[string]bool{old.Host: true, next.Host: true})
	told := time.Now()
	pid := pidOf(t, l, old.Host, ztunnelDaemon)
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the tunnels lead to the new ztunnel", func() error { return activeIs(t, l, next) })
	node := output(t, l, "node-a", "conntrack", "-L", "-p", "tcp", "--mark", "0x400/0xc00")
	t.Logf("connections of the old ztunnel:\n%s", node)
	for time.Since(told) < drainTime-time.Second {
		for _, s := range stays {
			if s.dead == nil && s.ping() != nil {
				t.Errorf("%v after SIGTERM: %s: %v", time.Since(told), s.way, s.dead)
			}
		}
	}
	eventually(t, "the old ztunnel has ended", func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return errors.New("it runs")
		}
		return nil
	})
	t.Logf("the old ztunnel ended after %v", time.Since(told).Round(time.Millisecond))
	lost := 0
	for _, s := range stays {
		start := time.Now()
		if s.ping() == nil {
			continue
		}
		lost++
		if took := time.Since(start); took > time.Second || s.way == "not captured" {
			t.Errorf("%s: lost after %v: %v", s.way, took, s.dead)
		}
	}
	t.Logf("%d of %d connections that stayed open ended with the old ztunnel", lost, len(stays))
	// The node's log has the count.
	if err := contains(l.Net.LogFile("node-a", nodeDaemon), "another ztunnel took over", "before=10.4.4.18", "connections="); err != nil {
		t.Error(err)
	}
	setZtunnels(t, l, []topology.Pod{next}, map[string]bool{next.Host: true})
	eventually(t, "nothing speaks of the old ztunnel", func() error {
		return isAs(nodeDump(t, l, "node-a"), before, old, next)
	})
	stop()
	knocks.Wait()
	for i, w := range ways {
		t.Logf("%-36s %s", w.name, tallies[i].String())
		if tallies[i].failed.Load() > 0 {
			t.Errorf("%s: connections were lost", w.name)
		}
	}
}

// A ztunnel that drains is gone from one moment to the next, link and all, before the
// mesh knows: whoever had a connection through it is told so at once, and nobody else
// notices.
func TestDrainingZtunnelVanishes(t *testing.T) {
	l := up(t, "nft")
	for _, host := range []string{"details", "outside-b", "httpbin"} {
		echoes(t, l, host)
	}
	first, _ := l.Net.Topology.Pod("ztunnel-a")
	old, next := *first, addZtunnel(t, l, 2)
	var stays []*stay
	for _, w := range rolloutWays() {
		stays = append(stays, keep(t, l, w))
	}
	setZtunnels(t, l, []topology.Pod{old, next}, map[string]bool{next.Host: true})
	eventually(t, "the tunnels lead to the new ztunnel", func() error { return activeIs(t, l, next) })
	for _, w := range rolloutWays() {
		stays = append(stays, keep(t, l, w))
	}
	output(t, l, "node-a", "ip", "link", "del", old.Veth)
	for i, s := range stays {
		throughOld := i < len(stays)/2 && s.way != "not captured"
		start := time.Now()
		err := s.ping()
		took := time.Since(start)
		switch {
		case s.way == "in through a tunnel":
			// The other node's ztunnel may use a tunnel of before for a new connection.
		case !throughOld && err != nil:
			t.Errorf("%s: %v", s.way, err)
		case throughOld && (err == nil || took > time.Second):
			t.Errorf("%s: %v after %v", s.way, err, took)
		}
		if throughOld {
			t.Logf("%s: %v after %v", s.way, err, took.Round(time.Millisecond))
		}
	}
	eventually(t, "nothing speaks of it", func() error {
		if rules := output(t, l, "node-a", "iptables-nft-save", "-t", "mangle"); strings.Contains(rules, old.Veth) {
			return errors.New(rules)
		}
		return nil
	})
}

// isAs compares the rules, ip rules and tables of a node with what they were for
// another ztunnel.
func isAs(now, before map[string]string, old, next topology.Pod) error {
	for _, command := range []string{"iptables-nft-save", "iptables-legacy-save", "ip rule", "ipset list"} {
		was := strings.NewReplacer(old.Address.String()+"/", next.Address.String()+"/", old.Veth, next.Veth).Replace(before[command])
		if now[command] != was {
			return fmt.Errorf("%s prints\n%s\nand not\n%s", command, now[command], was)
		}
	}
	for _, sign := range []string{"table 103", "table 104", "table 105"} {
		if strings.Contains(now["ip route show table all"], sign) {
			return fmt.Errorf("there are routes in %s", sign)
		}
	}
	return nil
}
