// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
)

// downward is the environment that the pod's manifest fills.
func downward(name string) string {
	return map[string]string{
		"POD_NAME": "ztunnel-rts54", "POD_NAMESPACE": "istio-system",
		"INSTANCE_IP": "10.4.4.18", "NODE_NAME": "node-a",
	}[name]
}

func TestBootstrapFromTheEnvironment(t *testing.T) {
	var stdout, stderr strings.Builder
	if code := execute(t.Context(), downward, []string{"bootstrap", "--delta"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	o := bootstrap.Default()
	o.PodName, o.PodNamespace, o.PodIP, o.NodeName, o.Delta = "ztunnel-rts54", "istio-system", netip.MustParseAddr("10.4.4.18"), "node-a", true
	b, err := bootstrap.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	want, err := bootstrap.JSON(b)
	if err != nil {
		t.Fatal(err)
	}
	if stdout.String() != string(want) {
		t.Errorf("printed\n%s, want\n%s", stdout.String(), want)
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	var stdout strings.Builder
	code := execute(t.Context(), downward, []string{"bootstrap", "--pod-name=other", "--admin-addr=127.0.0.1:15999"}, &stdout, io.Discard)
	if code != 0 || !strings.Contains(stdout.String(), "~other.istio-system~") || !strings.Contains(stdout.String(), `"port_value": 15999`) {
		t.Errorf("exit code %d:\n%s", code, stdout.String())
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string
	}{
		{"bootstrap", []string{"--pod-name is required (or set $POD_NAME)", "--pod-ip is required", "--node-name is required"}},
		{"run --pod-name=a --pod-ip=::1 --node-name=b", []string{`pod IP "::1" is not an IPv4 address`}},
		{"run --pod-name=a --pod-ip=ten --node-name=b", []string{"--pod-ip: "}},
		{"run --pod-name=a --pod-ip=10.0.0.1 --node-name=b --admin-addr=0.0.0.0:15000", []string{"--admin-addr: ", "loopback", "--admin-anywhere"}},
		{"run --pod-name=a --pod-ip=10.0.0.1 --node-name=b --log-level=loud", []string{`--log-level: unknown log level "loud"`}},
		{"run --pod-name=a --pod-ip=10.0.0.1 --node-name=b --log-format=xml", []string{`--log-format: "xml"`}},
		{"run --pod-name=a --pod-ip=10.0.0.1 --node-name=b --engine=nginx", []string{`--engine: "nginx" is neither embedded nor envoy`}},
		{"run --pod-name=a --pod-ip=10.0.0.1 --node-name=b --xds-socket=rel", []string{`xDS socket "rel" is not an absolute path`}},
		{"run --pod-name=a --pod-ip=10.0.0.1 --node-name=b -- --concurrency", []string{"only --engine=envoy takes any"}},
		{"nonsense", []string{`unknown command "nonsense"`}},
	} {
		var stderr strings.Builder
		if code := execute(t.Context(), noEnv, strings.Fields(c.args), io.Discard, &stderr); code != 1 {
			t.Errorf("%s: exit code %d", c.args, code)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s: missing %q in:\n%s", c.args, want, stderr.String())
			}
		}
	}
}

func TestHelpTellsOfTheEnvironment(t *testing.T) {
	for _, command := range []string{"run", "bootstrap"} {
		var stdout strings.Builder
		if code := execute(t.Context(), downward, []string{command, "--help"}, &stdout, io.Discard); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		for _, want := range []string{"$POD_NAME", "$POD_NAMESPACE", "$INSTANCE_IP", "$NODE_NAME", `(default "ztunnel-rts54")`} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%s --help does not tell of %s", command, want)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	var stdout strings.Builder
	if code := execute(t.Context(), noEnv, []string{"version"}, &stdout, io.Discard); code != 0 || !strings.HasPrefix(stdout.String(), "ztunnel ") {
		t.Errorf("exit code %d: %q", code, stdout.String())
	}
}
