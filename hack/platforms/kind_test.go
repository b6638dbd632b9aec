// SPDX-License-Identifier: Apache-2.0

package platforms

import (
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/golden"
)

const kindTools = "go kind kubectl docker"

// kindAnswers is a machine on which all is well; the cluster is there where EXISTS is
// set, and its nodes are not fit where UNFIT is.
const kindAnswers = `answer() {
	case $call in
	"kind get clusters") [[ -z ${EXISTS:-} ]] || echo ambient22 ;;
	"kind get nodes"*) printf '%s\n' ambient22-control-plane ambient22-worker ambient22-worker2 ;;
	"kind create cluster"*) cat >>"$STUB_CALLS" ;;
	*"ambient-node preflight"*)
		if [[ -n ${UNFIT:-} ]]; then
			echo "in the way: the kernel lacks geneve devices"
			exit 1
		fi
		echo "this node can carry the data path" ;;
	"docker info") [[ -z ${NO_DOCKER:-} ]] ;;
	"docker exec --interactive"*) cat >/dev/null ;;
	*"exec daemonset/sleep"*) echo "<title>Simple Bookstore App</title>" ;;
	esac
}
`

func TestKindUp(t *testing.T) {
	c := newCheckout(t, tools(kindTools)...)
	code, output, calls := c.run(t, kindAnswers, nil, "kind-up.sh")
	if code != 0 || !strings.Contains(output, "sleep called productpage:9080") || !strings.Contains(output, "hack/kind-down.sh") {
		t.Errorf("exit code %d:\n%s", code, output)
	}
	golden.Check(t, "testdata/kind-up.txt", calls)

	t.Run("again, with other settings", func(t *testing.T) {
		code, output, calls := c.run(t, kindAnswers, []string{"EXISTS=1", "TUNNEL=vxlan", "ENGINE=embedded", "SAMPLE=no"}, "kind-up.sh", "--set", "profile=hardened")
		if code != 0 || !strings.Contains(output, "is there already") {
			t.Errorf("exit code %d:\n%s", code, output)
		}
		golden.Check(t, "testdata/kind-up-again.txt", calls)
	})
	t.Run("another image, provider and name", func(t *testing.T) {
		c := newCheckout(t, tools("go kind kubectl podman")...)
		env := []string{
			"KIND_CLUSTER_NAME=mine", "KIND_NODE_IMAGE=kindest/node:v1.33.1", "KIND_EXPERIMENTAL_PROVIDER=podman",
			"IMAGE_ARCHIVE=bin/images/ambient22.tar", "IMAGE_TAG=1.2.3", "SAMPLE=no",
		}
		code, output, calls := c.run(t, kindAnswers, env, "kind-up.sh")
		if code != 0 {
			t.Errorf("exit code %d:\n%s", code, output)
		}
		golden.Check(t, "testdata/kind-up-other.txt", calls)
	})
}

func TestKindUpRefuses(t *testing.T) {
	install := []string{"ambientctl install", "kind load"}
	for name, c := range map[string]struct {
		tools   string
		env     []string
		message string
	}{
		"no kind":        {"go kubectl docker", nil, "kind is not installed: https://kind.sigs.k8s.io/"},
		"no kubectl":     {"go kind docker", nil, "kubectl is not installed: https://kubernetes.io/"},
		"no Go":          {"kind kubectl docker", nil, "go is not installed: Go 1."},
		"no Docker":      {"go kind kubectl", nil, "docker is not installed: kind runs its nodes as containers"},
		"Docker is down": {kindTools, []string{"NO_DOCKER=1"}, "docker does not answer"},
		"tunnel":         {kindTools, []string{"TUNNEL=gre"}, "TUNNEL=gre: it is one of: geneve vxlan"},
		"engine":         {kindTools, []string{"ENGINE=nginx"}, "ENGINE=nginx: it is one of: envoy embedded"},
		"archive":        {kindTools, []string{"IMAGE_ARCHIVE=nowhere.tar"}, "IMAGE_ARCHIVE=nowhere.tar: there is no such file"},
		"tag":            {kindTools, []string{"IMAGE_ARCHIVE=go.mod"}, "IMAGE_TAG must say"},
		"unfit nodes":    {kindTools, []string{"UNFIT=1"}, "sudo modprobe geneve"},
	} {
		t.Run(name, func(t *testing.T) {
			code, output, calls := newCheckout(t, tools(c.tools)...).run(t, kindAnswers, c.env, "kind-up.sh")
			refused(t, code, output, calls, c.message, install...)
		})
	}
}

// What fails on the way ends the script there, and says which part it was.
func TestKindUpFails(t *testing.T) {
	for call, part := range map[string]string{
		"kind create": "cluster failed", "build.sh": "image failed", "images.sh": "image failed", "kind load": "load failed",
		"ambientctl install": "install failed", "kubectl --context kind-ambient22 apply": "sample failed",
	} {
		t.Run(call, func(t *testing.T) {
			answers := kindAnswers + "case $call in \"" + call + "\"*) echo no >&2; exit 3 ;; esac\n"
			code, output, calls := newCheckout(t, tools(kindTools)...).run(t, answers, nil, "kind-up.sh")
			refused(t, code, output, calls, part)
			last := strings.Split(strings.TrimSpace(calls), "\n")
			if at := last[len(last)-1]; !strings.HasPrefix(at, call) {
				t.Errorf("it went on after %s, to %s", call, at)
			}
		})
	}
}

func TestKindDown(t *testing.T) {
	c := newCheckout(t, "kind")
	code, output, calls := c.run(t, kindAnswers, []string{"EXISTS=1"}, "kind-down.sh")
	if code != 0 || calls != "kind get clusters\nkind delete cluster --name ambient22\n" {
		t.Errorf("exit code %d: %s\n%s", code, output, calls)
	}
	code, output, calls = c.run(t, kindAnswers, nil, "kind-down.sh")
	if code != 0 || calls != "kind get clusters\n" || !strings.Contains(output, "there is no kind cluster ambient22") {
		t.Errorf("exit code %d: %s\n%s", code, output, calls)
	}
}
