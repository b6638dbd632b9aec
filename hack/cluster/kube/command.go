// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// Command is a command of this machine's user that talks to the cluster: in the
// network of the control plane, with the administrator's kubeconfig and the cluster's
// programs, but with the machine's own files.
func (c *Cluster) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	if _, err := os.Stat(c.Kubeconfig()); err != nil {
		return nil, host.ErrDown
	}
	args := append([]string{"--net=" + netns.Path(c.namespace(Control)), "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+c.Kubeconfig(),
		"PATH="+c.Binaries+string(filepath.ListSeparator)+os.Getenv("PATH"),
		host.Marker+"="+c.Name)
	return cmd, nil
}
