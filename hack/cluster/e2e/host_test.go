// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// cluster is the name of the cluster that the tests run in.
func cluster() string { return os.Getenv(host.Marker) }

// onHost runs a command on a host, with the host's own files and processes, and
// returns what it printed.
func onHost(ctx context.Context, name string, argv ...string) (string, error) {
	cmd, err := host.Command(ctx, cluster(), name, argv...)
	if err != nil {
		return "", err
	}
	return printed(cmd)
}

// inNetwork runs a command in a host's network, with the machine's files. It starts
// sooner than onHost's.
func inNetwork(ctx context.Context, name string, argv ...string) (string, error) {
	path := netns.Path(host.Namespace(cluster(), name))
	return printed(exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + path, "--"}, argv...)...))
}

func mustInNetwork(t *testing.T, name string, argv ...string) string {
	t.Helper()
	out, err := inNetwork(t.Context(), name, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func printed(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}
