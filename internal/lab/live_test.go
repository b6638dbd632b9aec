// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"encoding/json"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// Every way of the lab is traced in the running kernels, with both variants of
// iptables: what they did with each packet is what the dumps say, rule by rule and
// mark by mark.
func TestKernelsAgreeWithDumps(t *testing.T) {
	for _, iptables := range []string{"nft", "legacy"} {
		t.Run(iptables, func(t *testing.T) { checkLive(t, up(t, iptables)) })
	}
	t.Run("hardened", func(t *testing.T) {
		o := options(t, "nft")
		o.Profile, o.Dialect = "hardened", "upstream"
		checkLive(t, upWith(t, o))
	})
}

func checkLive(t *testing.T, l *Lab) {
	before := map[string]map[string]string{}
	for _, node := range l.Net.Topology.Nodes {
		before[node.Host] = nodeDump(t, l, node.Host)
	}
	for _, c := range callCases {
		t.Run(c.name, func(t *testing.T) {
			s := traceLive(t, l, c.from, c.url)
			if !s.Outcome.Delivered || (s.Outcome.Tunnelled != (c.wire == "hbone")) && c.wire != "" {
				t.Errorf("%+v", s.Outcome)
			}
		})
	}
	t.Run("a policy refuses a caller of the mesh", func(t *testing.T) {
		if s := traceLive(t, l, "notsleep", "http://productpage:9080/"); s.Outcome.Delivered || !s.Outcome.Captured {
			t.Errorf("%+v", s.Outcome)
		}
	})
	t.Run("a datagram", func(t *testing.T) { checkDatagram(t, l) })
	for _, node := range l.Net.Topology.Nodes {
		compareDumps(t, before[node.Host], nodeDump(t, l, node.Host))
	}
	for _, f := range liveFaults {
		t.Run(f.name, func(t *testing.T) {
			output(t, l, f.host, f.breaks...)
			s := traceLive(t, l, "sleep", "http://productpage:9080/")
			output(t, l, f.host, f.mends...)
			if s.Outcome.Delivered || !strings.Contains(s.Outcome.Sentence, f.reason) {
				t.Errorf("%+v, want the reason %q", s.Outcome, f.reason)
			}
		})
	}
}

// liveFaults are what somebody broke, and a part of what the story says of it. The node
// controllers don't mend them.
var liveFaults = []struct {
	name, host    string
	breaks, mends []string
	reason        string
}{
	{
		"a rule of somebody else drops it", "node-a",
		strings.Fields("iptables -t filter -I FORWARD -i veth6c1b90e4 -j DROP"),
		strings.Fields("iptables -t filter -D FORWARD -i veth6c1b90e4 -j DROP"),
		"dropped",
	},
	{
		"a rule in the ztunnel's pod refuses it", "ztunnel-a",
		strings.Fields("iptables -t filter -I INPUT -p tcp --dport 9080 -j REJECT"),
		strings.Fields("iptables -t filter -D INPUT -p tcp --dport 9080 -j REJECT"),
		"refused",
	},
	{
		"an ip rule is missing in the ztunnel's pod", "ztunnel-a",
		strings.Fields("ip rule del pref 20000"),
		strings.Fields("ip rule add pref 20000 fwmark 0x400/0xfff lookup 100"),
		"the ip rule that leads 0x400 to table 100 is missing",
	},
	{
		"the ztunnel's pod checks sources", "ztunnel-a",
		strings.Fields("sysctl -q -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.pistioout.rp_filter=1"),
		strings.Fields("sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.pistioout.rp_filter=0"),
		"refuses its source",
	},
}

// liveArgs are the arguments for a call that is traced live.
func (l *Lab) liveArgs(from, to string, more ...string) []string {
	name := from
	if p, ok := l.Net.Topology.Pod(from); ok {
		name = p.Address.String()
	} else if n, ok := l.Net.Topology.Node(from); ok {
		name = n.Name
	}
	return append(l.flags("trace", "--live", "--compare", "--json", "--host", from, "--from", name, "--to", to), more...)
}

// traceLive makes a call and gives its story. It fails where the dumps tell another
// one, and where any of its first packets was not seen.
func traceLive(t *testing.T, l *Lab, from, address string) *story.Story {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := ctl(t, "", l.liveArgs(from, u.Host, curl("2", address)...)...)
	if code != 0 || !strings.Contains(stderr, " compared, 0 differences\n") {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	return readLive(t, stdout)
}

// curl is the command that makes a call and waits for the answer so many seconds.
func curl(patience, address string) []string {
	return []string{"--", "curl", "-s", "-m", patience, "-o", "/dev/null", address}
}

func readLive(t *testing.T, text string) *story.Story {
	t.Helper()
	s := &story.Story{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	if s.Source != "live" || len(s.Timeline) == 0 {
		t.Errorf("the story's source is %q, with %d moments", s.Source, len(s.Timeline))
	}
	for _, d := range s.Doubts {
		if strings.HasPrefix(d, "Nobody looked for TCP SYN") || strings.Contains(d, "does not have it") {
			t.Error(d)
		}
	}
	return s
}

// checkDatagram traces a datagram and its answer that somebody else sends.
func checkDatagram(t *testing.T, l *Lab) {
	server, client := podNamed(t, l, "productpage"), podNamed(t, l, "sleep")
	to := netip.AddrPortFrom(server.Address, 9999)
	var conn *net.UDPConn
	err := netns.Do(l.Net.Namespace(server.Host), func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	}()
	s := waitLive(t, l, client.Host, to.String(), func() {
		err := netns.Do(l.Net.Namespace(client.Host), func() error {
			c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("hello")); err != nil {
				return err
			}
			_, err = c.Read(make([]byte, 100))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	if s.Outcome.Captured || !s.Outcome.Delivered || len(s.Legs) != 2 {
		t.Errorf("%d legs, %+v", len(s.Legs), s.Outcome)
	}
}

func podNamed(t *testing.T, l *Lab, host string) *topology.Pod {
	t.Helper()
	p, ok := l.Net.Topology.Pod(host)
	if !ok {
		t.Fatalf("the topology has no pod %s", host)
	}
	return p
}

// waitLive has a trace wait for a datagram, and sends it.
func waitLive(t *testing.T, l *Lab, from, to string, send func()) *story.Story {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "ambientctl"), l.liveArgs(from, to, "--protocol", "udp")...)
	var stdout strings.Builder
	cmd.Stdout = &stdout
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewScanner(errs)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "waiting for a call") {
			send()
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), " compared, 0 differences\n") {
		t.Fatalf("%v\n%s", err, &said)
	}
	return readLive(t, stdout.String())
}
