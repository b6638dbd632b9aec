// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/lab/agent"
)

func testPlace(t *testing.T, m *Machine) {
	if got := shell(t, m, "uname -r"); !strings.HasSuffix(got, "-amd64\n") {
		t.Errorf("kernel %q", got)
	}
	if got := shell(t, m, "hostname; cat /sys/class/net/lo/flags; ls /sys/class/net"); got != "test-machine\n0x9\nlo\n" {
		t.Errorf("host name, flags of lo, devices: %q", got)
	}
	if got := shell(t, m, "bash -c 'cat <(echo piped)'"); got != "piped\n" {
		t.Errorf("a pipe by way of /dev/fd printed %q", got)
	}
	before := time.Now()
	nanoseconds, err := strconv.ParseInt(strings.TrimSpace(shell(t, m, "date +%s%N")), 10, 64)
	const late = time.Second // a busy host may be that slow to set it
	if clock := time.Unix(0, nanoseconds); err != nil || clock.Before(before.Add(-late)) || clock.After(time.Now().Add(late)) {
		t.Errorf("the machine's clock says %v between %v and %v here (%v)", clock, before, time.Now(), err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "of-the-host")
	if err := os.WriteFile(file, []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := shell(t, m, fmt.Sprintf("cat %[1]s; echo guest >%[1]s; cat %[1]s; for d in %[2]s /etc /run /var/lib /tmp /dev/shm; do echo x >$d/of-the-machine-$$; done", file, dir))
	if got != "hostguest\n" {
		t.Errorf("reading and changing a file of the host printed %q", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "host" {
		t.Errorf("the host's file is now %q (%v)", text, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the host's folder now has %v (%v)", entries, err)
	}
}

// testGeneve makes node A's outbound device the way a node has it and compares what ip prints with listing 04.
func testGeneve(t *testing.T, m *Machine) {
	listing, err := os.ReadFile("testdata/listing-04.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := shell(t, m, `
		ip netns add node; ip netns exec node sh -ec '
		ip link add veth0 mtu 1460 type veth peer name veth1; ip addr add 10.4.4.1/32 dev veth0; ip link set veth0 up; ip link set veth1 up
		ip route add 10.4.4.18 dev veth0
		ip link add istioout index 24 address 62:59:1b:ad:79:01 txqueuelen 0 type geneve id 1001 remote 10.4.4.18
		ip addr add 192.168.127.1/30 brd + dev istioout; ip link set istioout up
		ip -d addr show istioout'; ip netns del node`)
	lines := strings.Split(got, "\n")
	for i, want := range strings.Split(strings.TrimSpace(string(listing)), "\n") {
		// Newer kernels and iproute2 add attributes, at the end of a line or before "numtxqueues".
		for _, part := range strings.SplitN(strings.TrimSpace(want), " numtxqueues", 2) {
			if i >= len(lines) || !strings.Contains(lines[i], part) {
				t.Errorf("line %d lacks %q:\n%s", i+1, part, got)
			}
		}
	}
}

// testFirewall uses each kind of rule the data path has, under both interfaces, and a module that is not loaded ahead.
func testFirewall(t *testing.T, m *Machine) {
	rules := []string{
		`-A PREROUTING -j LOG --log-prefix "mangle pre [ ztunnel-rts54] "`,
		"-A PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff",
		"-A PREROUTING -p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100",
		"-A PREROUTING -m connmark --mark 0x220/0x220 -j MARK --set-xmark 0x200/0x200",
		`-A FORWARD -m mark --mark 0x220/0x220 -m comment --comment "kept" -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220`,
	}
	for _, variant := range []string{"nft", "legacy"} {
		var script strings.Builder
		script.WriteString("ip netns add fw; trap 'ip netns del fw' EXIT; ip netns exec fw sh -ec '\n")
		script.WriteString("ipset create ztunnel-pods-ips hash:ip comment; ipset add ztunnel-pods-ips 10.4.4.19 comment uid\n")
		for _, rule := range rules {
			fmt.Fprintf(&script, "iptables-%s -t mangle %s\n", variant, rule)
		}
		fmt.Fprintf(&script, "iptables-%s -t nat -A OUTPUT -p tcp --dport 15088 -j REDIRECT --to-ports 15008\n", variant)
		fmt.Fprintf(&script, "iptables-%s-save -t mangle; ipset list ztunnel-pods-ips; conntrack -L 2>&1'", variant)
		got := shell(t, m, script.String())
		for _, rule := range rules {
			if !strings.Contains(got, strings.ReplaceAll(rule, `"kept"`, "kept")+"\n") {
				t.Errorf("iptables-%s does not list %s:\n%s", variant, rule, got)
			}
		}
	}
	shell(t, m, "modprobe ipvlan; test -d /sys/module/ipvlan; ip link add d0 type dummy; ip link del d0") // one by us, one by the kernel
}

func testData(t *testing.T, m *Machine) {
	const size = 16 << 20
	sent, got := sha256.New(), sha256.New()
	began := time.Now()
	code, err := m.Exec(t.Context(), agent.Cmd{
		Path: "cat", Stdin: io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{2}), size), sent), Stdout: got,
	})
	if code != 0 || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("exit code %d, error %v, whole: %v", code, err, bytes.Equal(sent.Sum(nil), got.Sum(nil)))
	}
	t.Logf("%d MiB there and back in %v", size>>20, time.Since(began).Round(time.Millisecond))
}

func testMany(t *testing.T, m *Machine) {
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			var out, errOut bytes.Buffer
			code, err := m.Exec(t.Context(), agent.Cmd{
				Path: "sh", Args: []string{"-c", "cat; echo err >&2; exit " + strconv.Itoa(i)},
				Stdin: strings.NewReader(strconv.Itoa(i)), Stdout: &out, Stderr: &errOut,
			})
			if code != i || err != nil || out.String() != strconv.Itoa(i) || errOut.String() != "err\n" {
				t.Errorf("command %d: exit code %d, error %v, output %q %q", i, code, err, &out, &errOut)
			}
		})
	}
	all.Wait()
	// Orphans are reaped by the machine's first process: none stays as a zombie.
	shell(t, m, "for i in 1 2 3; do (setsid true &) ; done")
	waitFor(t, "orphans to be reaped", func() bool { return shell(t, m, "ps -eo stat= | grep -c ^Z || true") == "0\n" })
}

func testSignal(t *testing.T, m *Machine) {
	ready, signals := make(chan struct{}, 1), make(chan os.Signal)
	go func() { <-ready; signals <- syscall.SIGINT }()
	code, err := m.Exec(t.Context(), agent.Cmd{
		Path: "sh", Args: []string{"-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done"},
		Stdout: notifier(ready), Signals: signals,
	})
	if code != 9 || err != nil {
		t.Errorf("exit code %d, error %v", code, err)
	}
}

// notifier is a writer that says when something was written.
type notifier chan<- struct{}

func (n notifier) Write(p []byte) (int, error) {
	select {
	case n <- struct{}{}:
	default:
	}
	return len(p), nil
}
