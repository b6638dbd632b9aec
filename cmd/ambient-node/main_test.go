// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/agent"
)

// output runs the program to its end.
func output(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestBadFlagsAreNamedAllAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"nothing":       {nil, []string{"--node is required", "--manifests is required"}},
		"variant":       {[]string{"--iptables", "both"}, []string{"--iptables", "both", "legacy", "--node is required"}},
		"tunnel":        {[]string{"--tunnel", "gre"}, []string{"--tunnel", "gre", "geneve", "vxlan"}},
		"port":          {[]string{"--tunnel-port", "0"}, []string{"--tunnel-port", "6081"}},
		"mode":          {[]string{"--mesh-mode", "maybe"}, []string{"--mesh-mode", "maybe", "default"}},
		"selector":      {[]string{"--disabled-selector", "a in ("}, []string{"--disabled-selector"}},
		"log level":     {[]string{"--log-level", "loud"}, []string{"--log-level", "loud"}},
		"log format":    {[]string{"--log-format", "xml"}, []string{"--log-format", "xml", "json"}},
		"address":       {[]string{"--http-addr", "here"}, []string{"--http-addr", "here"}},
		"resync":        {[]string{"--resync", "1ms"}, []string{"\n--resync: 1ms is shorter"}},
		"push delay":    {[]string{"--push-delay", "-1ms"}, []string{"--push-delay: -1ms is not between 0 and 10s"}},
		"push interval": {[]string{"--push-interval", "2h"}, []string{"--push-interval: 2h0m0s is not between 0 and 1m0s"}},
		"identities":    {[]string{"--identities", "vault"}, []string{`--identities: "vault" is neither ca nor csr`}},
		"no cluster":    {[]string{"--identities", "csr", "--manifests", "."}, []string{"--identities: csr needs a cluster"}},
		"short request": {[]string{"--identities", "csr", "--cert-ttl", "9m"}, []string{"--cert-ttl: the certificates API takes no request for less than 10m0s"}},
		"plan, profile": {[]string{"plan", "--node", "a", "--manifests", ".", "--profile", "soft"}, []string{`--profile: "soft"`}},
		"two sources":   {[]string{"plan", "--node", "a", "--manifests", ".", "--kubeconfig", "k"}, []string{"--kubeconfig, --manifests: give one of them"}},
		"no kubeconfig": {[]string{"plan", "--node", "a", "--kubeconfig", "/nonexistent/k"}, []string{"finding the API server", "/nonexistent/k"}},
		"argument":      {[]string{"node-a"}, []string{"node-a"}},
		"unknown flag":  {[]string{"--nodes", "a"}, []string{"--nodes"}},
		"plan, nothing": {[]string{"plan"}, []string{"--node is required", "--manifests is required"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := output(t, c.args...)
			if code == 0 || stdout != "" {
				t.Errorf("exit code %d, output %q", code, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("the error does not say %q:\n%s", want, stderr)
				}
			}
		})
	}
}

func TestOnlyOneControllerWorksOnANode(t *testing.T) {
	dir := t.TempDir()
	release, err := agent.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	code, _, stderr := output(t, "cleanup", "--state-dir", dir)
	if code == 0 || !strings.Contains(stderr, "another ambient-node is running") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestBrokenManifestsEndTheStartWithFileObjectAndField(t *testing.T) {
	manifests, state := t.TempDir(), t.TempDir()
	pod := `apiVersion: v1
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
kind: Pod
metadata: {name: sleep, namespace: default, uid: u1}
spec: {nodeName: node-a, containers: [{name: sleep}]}
status: {phase: Running, podIP: 10.4.4.300}
`
	if err := os.WriteFile(filepath.Join(manifests, "pods.yaml"), []byte(pod), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := output(t, "--node", "node-a", "--manifests", manifests, "--state-dir", state,
		"--ca-dir", filepath.Join(state, "ca"), "--xds-socket", filepath.Join(state, "xds.sock"), "--http-addr", "127.0.0.1:0")
	for _, want := range []string{"pods.yaml", "Pod default/sleep", "status.podIP", "10.4.4.300"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the error does not say %q:\n%s", want, stderr)
		}
	}
	if code == 0 {
		t.Error("exit code 0")
	}
	if _, err := os.Stat(filepath.Join(state, "host.json")); err == nil {
		t.Error("a state file was written")
	}
}
