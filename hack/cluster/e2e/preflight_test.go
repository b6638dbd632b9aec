// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/hack/samples"
)

// TestPreflight looks at a node beside its kubelet and kube-proxy: as it is, and with
// one thing in the way at a time. All troubles there are, docs/preflight.md lists.
func TestPreflight(t *testing.T) {
	const node = "node-a"
	preflight := preflightOn(t, node)
	t.Run("as it is", func(t *testing.T) {
		before := networkOf(t, node)
		answer, err := preflight()
		if err != nil || !strings.HasSuffix(answer, "this node can carry the data path\n") {
			t.Errorf("preflight: %v\n%s", err, answer)
		}
		if after := networkOf(t, node); after != before {
			t.Errorf("preflight changed the node: it was\n%s\nand is\n%s", before, after)
		}
		figure(t, "preflight on %s as it is: this node can carry the data path", node)
	})
	for _, c := range []struct{ name, spoil, restore, want string }{
		{
			name:  "kube-proxy in IPVS mode",
			spoil: "ip link add kube-ipvs0 type veth peer name kube-ipvs1", restore: "ip link del kube-ipvs0",
			want: "in the way: kube-proxy runs in IPVS mode",
		},
		{
			name:  "another ip rule",
			spoil: "ip rule add priority 102 fwmark 0x8/0x8 lookup 77", restore: "ip rule del priority 102 fwmark 0x8/0x8",
			want: "in the way: somebody else's rule has the priority 102",
		},
		{
			name:  "another tunnel",
			spoil: "ip link add genev_sys_6999 up type vxlan external dstport 6999", restore: "ip link del genev_sys_6999",
			want: "in the way: another vxlan device of Open vSwitch (OVN, OVN-Kubernetes, Antrea) holds UDP port 6999",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			hostMust(t, node, strings.Fields(c.spoil)...)
			defer hostMust(t, node, strings.Fields(c.restore)...)
			answer, err := preflight("--tunnel-port=6999")
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("it ends with %v", err)
			}
			at := strings.Index(answer, c.want)
			if at < 0 || !strings.Contains(answer[at:], "way out: ") {
				t.Fatalf("it does not say %q with a way out:\n%s", c.want, answer)
			}
			what, _, _ := strings.Cut(answer[at:], "\n")
			figure(t, "preflight on %s, %s: %s", node, c.name, what)
		})
	}
}

// preflightOn is ambient-node preflight on a node, with what the API server says of it.
func preflightOn(t *testing.T, node string) func(args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("ambient-node")
	if err != nil {
		t.Fatal(err)
	}
	if program, err = filepath.Abs(program); err != nil {
		t.Fatal(err)
	}
	// The node has a /var of its own; the machine's /tmp is everybody's.
	access, err := os.ReadFile(os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, access, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, error) {
		return hostTry(t, node, append([]string{program, "preflight", "--node", node, "--kubeconfig", kubeconfig, "--tunnel=vxlan"}, args...)...)
	}
}

// networkOf is what a node's network looks like but for what kube-proxy and the CNI
// plugin may be changing.
func networkOf(t *testing.T, node string) string {
	t.Helper()
	var s strings.Builder
	s.WriteString(hostMust(t, node, "ip", "rule"))
	for _, table := range []string{"100", "101", "102"} {
		routes, _ := hostTry(t, node, "ip", "route", "show", "table", table) // an empty table is an error
		s.WriteString(routes)
	}
	for _, device := range []string{"istioin", "istioout"} {
		link, _ := hostTry(t, node, "ip", "addr", "show", device)
		s.WriteString(link)
	}
	s.WriteString(hostMust(t, node, "ipset", "list", "-name"))
	for line := range strings.Lines(hostMust(t, node, "iptables-save")) {
		if strings.Contains(line, "ztunnel-") {
			s.WriteString(line)
		}
	}
	return s.String()
}

func hostMust(t *testing.T, node string, argv ...string) string {
	t.Helper()
	out, err := hostTry(t, node, argv...)
	if err != nil {
		t.Fatalf("%s on %s: %v\n%s", strings.Join(argv, " "), node, err, out)
	}
	return out
}

// hostTry runs a command as the node's daemons would and returns what it printed,
// on both streams.
func hostTry(t *testing.T, node string, argv ...string) (string, error) {
	t.Helper()
	cmd, err := host.Command(t.Context(), os.Getenv(host.Marker), node, argv...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// TestSampleIsAccepted has the API server check the sample workloads.
func TestSampleIsAccepted(t *testing.T) {
	namespace(t, "bookinfo")
	said, err := kubectl(t.Context(), samples.Bookinfo(), "apply", "--dry-run=server", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	figure(t, "the API server accepts the sample: %s", strings.Join(strings.Fields(strings.ReplaceAll(said, " (server dry run)", ",")), " "))
}
