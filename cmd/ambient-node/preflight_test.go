// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

const (
	preflightDoc = "../../docs/preflight.md"
	tableStart   = "<!-- What follows up to the end mark is compared with what the program prints. -->\n"
	tableEnd     = "<!-- end mark -->\n"
)

var writeDoc = flag.Bool("write-preflight-doc", false, "write the list in docs/preflight.md anew instead of comparing it")

// trouble is a node with one thing wrong with it.
type trouble struct {
	name string
	// lines are commands that spoil a good node; TUNNEL stands for the kind of
	// tunnel that this kernel has.
	lines []string
	// input goes to iptables-nft-restore.
	input string
	// mesh replaces text in the manifests; "-" leaves them out.
	mesh []string
	// args are further flags, and wrap is a command in front of the program.
	args, wrap []string
	// lacking are kernel features to play the absence of, refused what
	// iptables-restore shall refuse.
	lacking, refused string
	// socket is an address that a process has open.
	socket string
	// passes: the node can carry the data path all the same.
	passes bool
	// cure is a further flag, or else a command line, that is the way out.
	cure string
}

const manifests = `apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDR: 10.4.4.0/24}
status: {addresses: [{type: InternalIP, address: 10.168.15.222}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Pod
metadata: {name: ztunnel-a, namespace: istio-system, uid: uid-ztunnel-a, labels: {app: ztunnel}}
spec: {nodeName: node-a, containers: [{name: ztunnel}]}
status: {phase: Running, podIP: 10.4.4.18, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: sleep, namespace: default, uid: uid-sleep}
spec: {nodeName: node-a, containers: [{name: sleep}]}
status: {phase: Running, podIP: 10.4.4.19}
`

// goodNode is a node with two pods the way GKE hangs them on it, and kube-proxy's
// rules.
func goodNode(t *testing.T) {
	t.Helper()
	for _, line := range []string{
		"sysctl -qw net.ipv6.conf.default.disable_ipv6=1", // its addresses would come some time later
		"sysctl -qw net.ipv4.ip_forward=1",
		"ip addr add 10.4.4.1/32 dev lo",
		"ip link add veth18 type veth peer name pod18", "ip link set pod18 up", "ip link set veth18 up", "ip route add 10.4.4.18 dev veth18",
		"ip link add veth19 type veth peer name pod19", "ip link set pod19 up", "ip link set veth19 up", "ip route add 10.4.4.19 dev veth19",
	} {
		netnstest.Run(t, line)
	}
	netnstest.Settle(t)
	netnstest.Input(t, "iptables-nft-restore --noflush", `*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
*filter
-A FORWARD -m comment --comment "allowed by somebody" -j ACCEPT
COMMIT
`)
}

// answerOf runs the program on the node with a trouble.
type answerOf struct {
	code           int
	stdout, stderr string
}

func (c *trouble) run(t *testing.T, more ...string) answerOf {
	t.Helper()
	args := append(slices.Clone(c.wrap), "", "preflight", "--tunnel", netnstest.Tunnel(t).String(), "--state-dir", t.TempDir())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args[len(c.wrap)] = exe
	if !slices.Equal(c.mesh, []string{"-"}) {
		dir := filepath.Join(t.TempDir(), "manifests")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(c.mesh...).Replace(manifests)
		if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--manifests", dir, "--node", "node-a")
	}
	args = append(append(args, c.args...), more...)
	cmd := exec.Command(args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), asProgram+"=1", lackingFeatures+"="+c.lacking, "KUBERNETES_SERVICE_HOST=", "NODE_NAME=")
	if c.refused != "" {
		cmd.Env = append(cmd.Env, "PATH="+refusing(t, c.refused)+":"+os.Getenv("PATH"))
	}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return answerOf{cmd.ProcessState.ExitCode(), machineless(stdout.String()), stderr.String()}
}

// refusing is a folder with iptables programs that refuse an input that holds a
// word, as the kernel does that lacks the extension.
func refusing(t *testing.T, word string) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"nft", "legacy"} {
		script := fmt.Sprintf(`#!/bin/sh
input=$(cat)
case $input in *%s*)
	echo "iptables-restore: No chain/target/match by that name." >&2
	exit 1 ;;
esac
echo "$input" | /usr/sbin/iptables-%s-restore "$@"
`, word, v)
		if err := os.WriteFile(filepath.Join(dir, "iptables-"+v+"-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// machineless takes out of an output what differs from one run to the next: the
// folders of the test.
func machineless(text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		if at := strings.Index(w, os.TempDir()+"/"); at >= 0 {
			words[i] = w[:at] + "…/" + filepath.Base(w[at:])
		}
	}
	return strings.Join(words, " ")
}

// dump is what must not change.
func dump(t *testing.T) string {
	t.Helper()
	var s strings.Builder
	for _, c := range []string{
		"iptables-nft-save", "iptables-legacy-save", "nft -s list ruleset", "ip rule", "ip route show table all", "ip link", "ip addr",
		"ipset list", "sysctl -a -r ^net.ipv4.(conf|ip_forward)",
	} {
		for line := range strings.Lines(netnstest.Run(t, c)) {
			if strings.HasPrefix(line, "# ") { // the time
				continue
			}
			if at := strings.LastIndex(line, " ["); at >= 0 && strings.HasPrefix(line, ":") {
				line = line[:at] // counters of a policy
			}
			fmt.Fprintf(&s, "%s: %s\n", c, strings.TrimRight(line, "\n"))
		}
	}
	return s.String()
}

// TestPreflightOfEachTrouble spoils a good node in one way at a time, and holds what
// the program prints against the documentation.
func TestPreflightOfEachTrouble(t *testing.T) {
	var table strings.Builder
	table.WriteString("| trouble | what it says, and where to look | way out |\n| --- | --- | --- |\n")
	for _, c := range troubles() {
		t.Run(c.name, func(t *testing.T) {
			netnstest.Enter(t)
			goodNode(t)
			if c.socket != "" {
				conn, err := net.ListenPacket("udp", c.socket)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			c.spoil(t)
			before := dump(t)
			got := c.run(t)
			if after := dump(t); after != before {
				t.Errorf("it changed the node:\n%s", cmp.Diff(before, after))
			}
			t.Logf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			row := c.row(t, got)
			t.Attr("figure", strings.TrimSpace(row))
			table.WriteString(row)
			c.tryCure(t)
		})
	}
	compareDoc(t, table.String())
}

func (c *trouble) spoil(t *testing.T) {
	t.Helper()
	for _, line := range c.lines {
		netnstest.Run(t, strings.ReplaceAll(line, "TUNNEL", netnstest.Tunnel(t).String()))
	}
	if c.input != "" {
		netnstest.Input(t, "iptables-nft-restore --noflush", c.input)
	}
}

// row is the trouble's line of the table. Its first column is the test's, the rest
// is what was printed.
func (c *trouble) row(t *testing.T, got answerOf) string {
	t.Helper()
	last := "this node can't carry the data path"
	word := "in the way: "
	code, output := 1, got.stderr
	if c.passes {
		last, word, code, output = "this node can carry the data path", "worth a look: ", 0, got.stdout
	}
	if got.code != code || !strings.Contains(output, last) {
		t.Errorf("exit code %d, want %d, and no %q in\n%s", got.code, code, last, output)
	}
	var says, out []string
	for _, text := range strings.Split("\n"+got.stdout, "\n"+word)[1:] {
		what, rest, ok := strings.Cut(text, "\n    where:   ")
		where, wayOut, ok2 := strings.Cut(rest, "\n    way out: ")
		if !ok || !ok2 {
			continue
		}
		wayOut, _, _ = strings.Cut(wayOut, "\n")
		says = append(says, fmt.Sprintf("%s (`%s`)", cell(what), cell(where)))
		out = append(out, cell(wayOut))
	}
	if len(says) == 0 {
		t.Errorf("it names nothing:\n%s", got.stdout)
	}
	name := c.name
	if c.passes {
		name += " (a note)"
	}
	return fmt.Sprintf("| %s | %s | %s |\n", name, strings.Join(says, "<br>"), strings.Join(slices.Compact(out), "<br>"))
}

// cell makes a text fit for a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}

// tryCure does what was advised and looks again.
func (c *trouble) tryCure(t *testing.T) {
	t.Helper()
	if c.cure == "" {
		return
	}
	var more []string
	if strings.HasPrefix(c.cure, "--") {
		more = strings.Fields(c.cure)
	} else {
		netnstest.Run(t, c.cure)
	}
	if got := c.run(t, more...); got.code != 0 || !strings.HasSuffix(got.stdout, "this node can carry the data path\n") {
		t.Errorf("after %q it says, with exit code %d:\n%s%s", c.cure, got.code, got.stdout, got.stderr)
	}
}

func compareDoc(t *testing.T, table string) {
	t.Helper()
	text, err := os.ReadFile(preflightDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), tableStart)
	is, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the list", preflightDoc)
	}
	if *writeDoc {
		if err := os.WriteFile(preflightDoc, []byte(head+tableStart+"\n"+table+"\n"+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := "\n" + table + "\n"; is != want {
		t.Errorf("%s is not what the program prints (rewrite it: go test ./cmd/ambient-node -run Trouble -args -write-preflight-doc):\n%s", preflightDoc, cmp.Diff(is, want))
	}
}

func TestPreflightOfAGoodNode(t *testing.T) {
	netnstest.Enter(t)
	goodNode(t)
	for name, c := range map[string]trouble{"with a mesh": {}, "without": {mesh: []string{"-"}}} {
		before := dump(t)
		got := c.run(t)
		if got.code != 0 || got.stdout != "this node can carry the data path\n" || got.stderr != "" {
			t.Errorf("%s: exit code %d\n%s%s", name, got.code, got.stdout, got.stderr)
		}
		if after := dump(t); after != before {
			t.Errorf("%s: it changed the node:\n%s", name, cmp.Diff(before, after))
		}
	}
}

// A cluster's source leaves out what it can't use and goes on, so a node without any
// address is found only when its own is asked for.
func TestPreflightOfANodeThatTheClusterGaveNoAddress(t *testing.T) {
	var o options
	o.mesh.Node = "node-a"
	config, problems := o.ofNode(&mesh.Snapshot{Nodes: []mesh.Node{{Name: "node-a"}}})
	blocking := noderoute.Blocking(problems)
	if len(problems) != 2 || len(blocking) != 1 || config.HostIP.IsValid() {
		t.Fatalf("problems %v, configuration %+v", problems, config)
	}
	for _, want := range []string{"kubectl get node node-a", "neither a pod range nor an InternalIP", "--allocate-node-cidrs", "--node-ip"} {
		if !strings.Contains(blocking[0].String(), want) {
			t.Errorf("%q does not say %q", blocking[0], want)
		}
	}
}
