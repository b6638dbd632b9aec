// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// deployValues are those that this machine needs.
const deployValues = "tunnel=vxlan,engine=embedded,image.pullPolicy=Never"

// TestDeploy installs and uninstalls where something is in the way, and where others
// have had a hand in it.
func TestDeploy(t *testing.T) {
	const ns = "halfway"
	namespace(t, ns)
	must(t, "label", "namespace", ns, "istio.io/dataplane-mode=ambient")
	if _, err := kubectl(t.Context(), web, "-n", ns, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	must(t, "-n", ns, "rollout", "status", "deployment/web", "--timeout=90s")
	must(t, "-n", ns, "rollout", "status", "daemonset/caller", "--timeout=90s")
	objects, err := everything(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dumps := quietDumps(t)

	t.Run("wrong value", func(t *testing.T) {
		refused(t, []string{"install", "--set", "tunnel=ipip"}, "tunnel", "geneve")
		sameObjects(t, objects)
	})
	t.Run("object that the API server refuses", func(t *testing.T) {
		refused(t, []string{"install", "--set", deployValues, "--set", "node.resources.limits.memory=much"}, "nothing was written", "DaemonSet istio-system/ambient-node")
		sameObjects(t, objects)
	})
	t.Run("missing image", func(t *testing.T) {
		refused(t, []string{"install", "--set", deployValues, "--set", "image.tag=missing", "--wait", "10s"},
			"node-a: ambient-node", "node-b: ztunnel", "has no image", "way out: load the image")
		refused(t, []string{"status"}, "ambient-node", "has no image")
	})
	t.Run("mended", func(t *testing.T) {
		worked(t, []string{"install", "--set", deployValues}, "every node carries the data path")
		eventually(t, "a good status", func() error {
			_, err := ambientctl(t.Context(), "status")
			return err
		})
		worked(t, []string{"status"}, "everything is as it should be", "2 of 2")
	})
	t.Run("again", func(t *testing.T) {
		worked(t, []string{"install", "--set", deployValues}, "nothing to change")
	})
	t.Run("fields of others", func(t *testing.T) {
		must(t, "-n", "istio-system", "patch", "configmap", "ambient22-config", "--type=merge", `--patch={"data":{"mode":"on"}}`)
		refused(t, []string{"install", "--set", deployValues}, "nothing was written", "data.mode", "kubectl", "--force-conflicts")
		worked(t, []string{"install", "--set", deployValues, "--force-conflicts"}, "1 changed")
	})
	t.Run("uninstall without the controllers", func(t *testing.T) {
		must(t, "-n", "istio-system", "delete", "daemonset", "ambient-node")
		refused(t, []string{"status"}, "there is no DaemonSet ambient-node")
		start := time.Now()
		worked(t, []string{"uninstall", "--set", deployValues}, "node-a is clean", "node-b is clean", "no object of ambient22 is left")
		figure(t, "ambientctl uninstall of half an install: %.1f s", time.Since(start).Seconds())
		sameObjects(t, objects)
		for node, d := range quietDumps(t) {
			if differs := dumps[node].differences(d); len(differs) > 0 {
				t.Errorf("%s is not what it was:\n%s", node, strings.Join(differs[:min(len(differs), shownDifferences)], "\n"))
			}
		}
	})
	t.Run("uninstall again", func(t *testing.T) {
		worked(t, []string{"uninstall"}, "nothing of ambient22 is in this cluster")
		refused(t, []string{"status"}, "ambient22 is not in this cluster")
	})
}

// worked runs ambientctl, which has to say all of that.
func worked(t *testing.T, args []string, says ...string) {
	t.Helper()
	said, err := ambientctl(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	saysAll(t, said, says)
}

// refused runs ambientctl, which has to fail and to say all of that.
func refused(t *testing.T, args []string, says ...string) {
	t.Helper()
	said, err := ambientctl(t.Context(), args...)
	if err == nil {
		t.Fatalf("ambientctl %s did not fail:\n%s", strings.Join(args, " "), said)
	}
	saysAll(t, said, says)
}

func saysAll(t *testing.T, said string, wanted []string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// sameObjects: the API has no object that it did not have.
func sameObjects(t *testing.T, objects map[string]bool) {
	t.Helper()
	now, err := everything(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if !objects[name] {
			t.Errorf("left in the API: %s", name)
		}
	}
}

// quietDumps lists the nodes when nothing changes there any more: kube-proxy follows
// what pods do a moment later.
func quietDumps(t *testing.T) map[string]dump {
	t.Helper()
	last := map[string]dump{}
	eventually(t, "nodes on which nothing changes", func() error {
		var changed error
		for _, node := range nodes() {
			d, err := takeDump(t.Context(), node)
			if err != nil {
				return err
			}
			if was, known := last[node]; !known || len(was.differences(d)) > 0 {
				changed = errors.New(node + " changes")
			}
			last[node] = d
		}
		return changed
	})
	return last
}
