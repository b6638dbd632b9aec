// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/manifest"
)

// TestOtherKinds lets built-in kinds without bearing stand beside those that have,
// but not with mistakes in them.
func TestOtherKinds(t *testing.T) {
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app}]}}
---
apiVersion: v1
kind: ConfigMapList
items:
- metadata: {name: settings}
---
apiVersion: v1
kind: PodList
items:
- metadata: {name: api, uid: uid-of-api}
  spec: {nodeName: node-a, containers: [{name: app}]}
  status: {phase: Running, podIP: 10.4.4.7}
`
	dir := t.TempDir()
	copyFile(t, "testdata/broken/base.yaml", filepath.Join(dir, "base.yaml"))
	write(t, filepath.Join(dir, "deployment.yaml"), deployment)
	s, err := manifest.Load(dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Workloads) != 2 || s.Workloads[0].Name != "api" || s.Workloads[0].Namespace != "default" {
		t.Errorf("workloads: %+v", s.Workloads)
	}
	write(t, filepath.Join(dir, "deployment.yaml"), strings.Replace(deployment, "selector", "selektor", 1))
	if _, err := manifest.Load(dir, manifest.Options{}); !fault(`deployment.yaml:1: Deployment web: unknown field "spec.selektor"`)(outcome{err: err}) {
		t.Errorf("a mistake in a Deployment: %v", err)
	}
}
