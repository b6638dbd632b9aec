// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMesh installs the data path into the cluster as its users do, lets each promise
// be shown on it, and takes it away again.
func TestMesh(t *testing.T) {
	w := settle(t)
	w.beLikeGKE(t)
	before, networks := w.look(t), networksOf(t)
	w.install(t)
	t.Run("capture", w.testCapture)
	probes := w.kubeletState(t)
	t.Run("order", w.testOrder)
	t.Run("dump", w.testNodeDump)
	t.Run("gone", w.testGone)
	t.Run("probes", func(t *testing.T) { w.testProbes(t, probes) })
	t.Run("rollout", w.testRollout)
	t.Run("identities", w.testIdentities)
	t.Run("controller killed", w.testControllerKilled)
	t.Run("API outage", w.testAPIOutage)
	t.Run("damage", w.testDamage)
	t.Run("cni", func(t *testing.T) { w.testCNI(t, networks) })
	t.Run("uninstall", func(t *testing.T) { w.testUninstall(t, before) })
}

// beLikeGKE gives the first node the rule that the article's node has beside ours.
func (w *world) beLikeGKE(t *testing.T) {
	mustInNetwork(t, nodes()[0], append([]string{"iptables", "-t", "mangle", "-A"}, gkeRule()...)...)
	t.Cleanup(func() {
		_, err := inNetwork(context.Background(), nodes()[0], append([]string{"iptables", "-t", "mangle", "-D"}, gkeRule()...)...)
		if err != nil {
			t.Error(err)
		}
	})
}

// install is the one command. This kernel has no Geneve, and there is no registry.
func (w *world) install(t *testing.T) {
	t.Helper()
	start := time.Now()
	said, err := ambientctl(t.Context(), "install", "--set", "tunnel=vxlan,engine=embedded,image.pullPolicy=Never",
		"--set", fmt.Sprintf("ztunnel.drainSeconds=%.0f", drain.Seconds()), "--set", fmt.Sprintf("cni.waitSeconds=%.0f", pluginWait.Seconds()))
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	figure(t, "ambientctl install: %.1f s until every node carries the data path", time.Since(start).Seconds())
	w.findZtunnels()
}

// ambientctl runs the command of that name.
func ambientctl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ambientctl", args...).CombinedOutput()
	if err != nil {
		err = errors.New("ambientctl " + strings.Join(args, " ") + ": " + err.Error())
	}
	return string(out), err
}
