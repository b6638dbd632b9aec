// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// enterPod moves the test into a namespace that looks like the article's ztunnel
// pod on node A: eth0 and a default route to the node.
func enterPod(t *testing.T) {
	t.Helper()
	netnstest.Enter(t)
	for _, line := range []string{
		"ip link add eth0 type veth peer name host0",
		"ip addr add 10.4.4.18/24 dev eth0",
		"ip link set eth0 up",
		"ip link set host0 up",
		"ip route add default via 10.4.4.1 dev eth0",
	} {
		netnstest.Run(t, line)
	}
}

// initOnce runs `ztunnel init`. VXLAN stands in for Geneve, which not every
// kernel that this test runs on has.
func initOnce(t *testing.T, more ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	args := append([]string{"init", "--pod-name=ztunnel-rts54", "--tunnel=vxlan"}, more...)
	code = execute(t.Context(), noEnv, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestInitChangesOnceAndSaysWhat(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			enterPod(t)
			flag := "--iptables=" + variant
			code, planned, stderr := initOnce(t, flag, "--dry-run")
			if code != 0 || planned == "" {
				t.Fatalf("dry run: exit code %d\n%s%s", code, planned, stderr)
			}
			if rules := netnstest.Run(t, "ip rule"); strings.Contains(rules, "0x400") {
				t.Errorf("the dry run changed something:\n%s", rules)
			}
			code, first, stderr := initOnce(t, flag)
			if code != 0 {
				t.Fatalf("first run: exit code %d\n%s", code, stderr)
			}
			if first != planned {
				t.Errorf("the dry run said\n%s, the run did\n%s", planned, first)
			}
			rules := netnstest.Run(t, "iptables-"+variant+"-save -t mangle")
			for _, want := range []string{
				`-A PREROUTING -j LOG --log-prefix "mangle pre [ ztunnel-rts54`,
				"-A PREROUTING -i pistioout -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff",
			} {
				if !strings.Contains(rules, want) {
					t.Errorf("missing %s in\n%s", want, rules)
				}
			}
			code, second, stderr := initOnce(t, flag)
			if code != 0 || second != "nothing to change\n" {
				t.Errorf("second run: exit code %d\n%s%s", code, second, stderr)
			}
		})
	}
}

func TestInitNamesWhatIsInTheWay(t *testing.T) {
	enterPod(t)
	netnstest.Run(t, "ip link add pistioin type veth peer name somebody")
	code, stdout, stderr := initOnce(t)
	if code != 1 || !strings.Contains(stderr, "pistioin") || !strings.Contains(stderr, "nothing was changed") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if rules := netnstest.Run(t, "ip rule"); strings.Contains(rules, "0x400") {
		t.Errorf("something was changed all the same:\n%s", rules)
	}
}

func TestInitNeedsAPod(t *testing.T) {
	netnstest.Enter(t)
	if code, _, stderr := initOnce(t); code != 1 || stderr == "" {
		t.Errorf("without eth0: exit code %d, %q", code, stderr)
	}
}

func TestInitsWrongFlagsAreNamed(t *testing.T) {
	for args, want := range map[string]string{
		"init":                               "--pod-name is required for the LOG rule (or set $POD_NAME, or --log-rule=false)",
		"init --pod-name=a --iptables=x":     "--iptables: ",
		"init --pod-name=a --tunnel=gre":     "--tunnel: ",
		"init --pod-name=a --tunnel-port=0":  "--tunnel-port: 0 is no port",
		"init --pod-name=a --tunnel-port=7e": "--tunnel-port",
		"init --pod-name=a more":             "unknown command",
	} {
		var stderr strings.Builder
		if code := execute(t.Context(), noEnv, strings.Fields(args), io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, stderr.String())
		}
	}
}
