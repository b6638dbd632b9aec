// SPDX-License-Identifier: Apache-2.0

package platforms

import (
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/golden"
)

const gkeTools = "go gcloud kubectl gke-gcloud-auth-plugin"

// gkeAnswers is a project in which all is well; the cluster is there where EXISTS is
// set, and described by the other variables.
const gkeAnswers = `answer() {
	case $call in
	"go env GOARCH") echo amd64 ;;
	"go tool"*"crane auth login"*) cat >>"$STUB_CALLS" ;;
	"gcloud config get-value account") [[ -n ${NO_ACCOUNT:-} ]] || echo someone@example.com ;;
	"gcloud config get-value project") [[ -n ${NO_PROJECT:-} ]] || echo study ;;
	"gcloud container clusters list"*) [[ -z ${EXISTS:-} ]] || echo ambient22 ;;
	"gcloud container clusters describe"*networkConfig.datapathProvider*) echo "${DATAPATH:-}" ;;
	"gcloud container clusters describe"*networkPolicy.enabled*) echo "${POLICIES:-}" ;;
	"gcloud container clusters describe"*enableIntraNodeVisibility*) echo "${VISIBILITY:-}" ;;
	"gcloud container clusters describe"*autopilot.enabled*) echo "${AUTOPILOT:-}" ;;
	"gcloud container clusters describe"*serviceAccount*) echo default ;;
	"gcloud projects describe"*) echo 123456 ;;
	"gcloud artifacts repositories describe"*) [[ -n ${EXISTS:-} ]] ;;
	"gcloud auth print-access-token") echo secret-token ;;
	*"exec daemonset/sleep"*) echo "<title>Simple Bookstore App</title>" ;;
	esac
}
`

func TestGKEUp(t *testing.T) {
	c := newCheckout(t, tools(gkeTools)...)
	code, output, calls := c.run(t, gkeAnswers, nil, "gke-up.sh")
	if code != 0 || !strings.Contains(output, "sleep called productpage:9080") || !strings.Contains(output, "hack/gke-down.sh") {
		t.Errorf("exit code %d:\n%s", code, output)
	}
	if strings.Contains(output, "secret-token") {
		t.Errorf("the token is printed:\n%s", output)
	}
	golden.Check(t, "testdata/gke-up.txt", scratchless(calls))

	t.Run("again, with other settings", func(t *testing.T) {
		env := []string{"EXISTS=1", "PROJECT=other", "ZONE=europe-west3-b", "ENGINE=embedded", "SAMPLE=no"}
		code, output, calls := c.run(t, gkeAnswers, env, "gke-up.sh", "--set", "profile=hardened")
		if code != 0 || !strings.Contains(output, "is there already") {
			t.Errorf("exit code %d:\n%s", code, output)
		}
		golden.Check(t, "testdata/gke-up-again.txt", scratchless(calls))
	})
}

// scratchless takes the random part out of mktemp's names.
func scratchless(calls string) string {
	words := strings.Fields(calls)
	for _, w := range words {
		if rest, ok := strings.CutPrefix(w, "TMP/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			calls = strings.ReplaceAll(calls, name, "scratch")
		}
	}
	return calls
}

func TestGKEUpRefuses(t *testing.T) {
	install := []string{"ambientctl install", "crane push"}
	create := append([]string{"clusters create"}, install...)
	for name, c := range map[string]struct {
		tools     string
		env       []string
		message   string
		notCalled []string
	}{
		"no gcloud":       {"go kubectl gke-gcloud-auth-plugin", nil, "gcloud is not installed: https://cloud.google.com/sdk/docs/install", create},
		"no plugin":       {"go gcloud kubectl", nil, "gcloud components install gke-gcloud-auth-plugin", create},
		"no account":      {gkeTools, []string{"NO_ACCOUNT=1"}, "gcloud auth login", create},
		"no project":      {gkeTools, []string{"NO_PROJECT=1"}, "set PROJECT", create},
		"a region":        {gkeTools, []string{"ZONE=us-central1"}, "ZONE=us-central1 is no zone", create},
		"image type":      {gkeTools, []string{"IMAGE_TYPE=WINDOWS"}, "IMAGE_TYPE=WINDOWS: it is one of", create},
		"processors":      {gkeTools, []string{"MACHINE_TYPE=t2a-standard-4"}, "t2a-standard-4 has arm64 processors", create},
		"Dataplane V2":    {gkeTools, []string{"EXISTS=1", "DATAPATH=ADVANCED_DATAPATH"}, "Dataplane V2, which is Cilium", create},
		"Calico":          {gkeTools, []string{"EXISTS=1", "POLICIES=True"}, "enforces network policies with Calico", create},
		"node visibility": {gkeTools, []string{"EXISTS=1", "VISIBILITY=True"}, "--no-enable-intra-node-visibility", create},
		"Autopilot":       {gkeTools, []string{"EXISTS=1", "AUTOPILOT=True"}, "is an Autopilot cluster", create},
	} {
		t.Run(name, func(t *testing.T) {
			code, output, calls := newCheckout(t, tools(c.tools)...).run(t, gkeAnswers, c.env, "gke-up.sh")
			refused(t, code, output, calls, c.message, c.notCalled...)
		})
	}
}

func TestGKEUpFails(t *testing.T) {
	for call, part := range map[string]string{
		"gcloud services enable": "services failed", "gcloud container clusters list": "gcloud can't list the clusters",
		"gcloud container clusters create": "cluster failed", "gcloud container clusters get-credentials": "check failed",
		"gcloud artifacts repositories create": "repository failed", "gcloud artifacts repositories add-iam": "repository failed",
		"images.sh": "image failed", "gcloud auth print-access-token": "push failed", "ambientctl install": "install failed",
	} {
		t.Run(call, func(t *testing.T) {
			answers := gkeAnswers + "case $call in \"" + call + "\"*) echo no >&2; exit 3 ;; esac\n"
			code, output, calls := newCheckout(t, tools(gkeTools)...).run(t, answers, nil, "gke-up.sh")
			refused(t, code, output, calls, part, "kubectl")
			if call != "ambientctl install" && strings.Contains(calls, "crane push") {
				t.Errorf("it pushed all the same:\n%s", calls)
			}
		})
	}
}

func TestGKEDown(t *testing.T) {
	c := newCheckout(t, "gcloud")
	code, output, calls := c.run(t, gkeAnswers, []string{"EXISTS=1"}, "gke-down.sh")
	refused(t, code, output, calls, "say --yes where nobody can be asked", "delete")

	code, output, calls = c.run(t, gkeAnswers, []string{"EXISTS=1"}, "gke-down.sh", "--yes")
	if code != 0 {
		t.Errorf("exit code %d: %s", code, output)
	}
	golden.Check(t, "testdata/gke-down.txt", calls)

	_, _, calls = c.run(t, gkeAnswers, []string{"EXISTS=1", "KEEP_REPOSITORY=yes"}, "gke-down.sh", "--yes")
	if !strings.Contains(calls, "clusters delete") || strings.Contains(calls, "repositories") {
		t.Errorf("with KEEP_REPOSITORY it called\n%s", calls)
	}

	code, output, calls = c.run(t, gkeAnswers, nil, "gke-down.sh")
	if code != 0 || strings.Contains(calls, "delete") || !strings.Contains(output, "there is no GKE cluster ambient22 in us-central1-c of project study") {
		t.Errorf("exit code %d: %s\n%s", code, output, calls)
	}
}
