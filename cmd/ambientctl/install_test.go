// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong in a command line is said before any cluster is asked, and a cluster
// that is not there is named.
func TestClusterCommandsThatCannotWork(t *testing.T) {
	dir := t.TempDir()
	nowhere := filepath.Join(dir, "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}], users: [{name: u}]}`
	if err := os.WriteFile(nowhere, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	values := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(values, []byte("tunnelPort: 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	t.Setenv("KUBECONFIG", "")
	for line, want := range map[string]string{
		"install --set tunnel=ipip":                      "at '/tunnel'",
		"install --set tunel=vxlan":                      "tunel",
		"install --values " + values:                     "tunnelPort",
		"install --values " + dir + "/none":              "none: no such file",
		"install --wait -1s":                             "--wait",
		"install":                                        "--kubeconfig FILE",
		"install --kubeconfig " + dir + "/none":          "no such file",
		"install --kubeconfig " + nowhere:                "http://127.0.0.1:1",
		"install twice":                                  "unknown command",
		"uninstall --timeout 0s":                         "--timeout",
		"uninstall --kubeconfig " + nowhere:              "http://127.0.0.1:1",
		"status --output yaml":                           `"yaml" is not json`,
		"status --context other --kubeconfig " + nowhere: "other",
		"status --kubeconfig " + nowhere:                 "connection refused",
	} {
		if code, stdout, stderr := ambientctl(t, "", strings.Fields(line)...); code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d\n%s%s", line, code, stdout, stderr)
		}
	}
}
