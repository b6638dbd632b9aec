// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/lab/netns"
)

// Down takes away whatever there is of the cluster: it needs nothing that Up
// remembered, and is no error where there is nothing.
func (c *Cluster) Down(ctx context.Context) error {
	if err := host.Kill(ctx, c.Name, Hosts()...); err != nil {
		return err
	}
	var errs []error
	for _, name := range Hosts() {
		errs = append(errs, netns.Delete(c.namespace(name)))
	}
	errs = append(errs, host.RemoveCgroup(ctx, c.cgroup()), os.RemoveAll(c.Dir))
	// The folder of all clusters goes with the last of them.
	err := os.Remove(filepath.Dir(c.Dir))
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("removing the clusters' folder: %w", err))
	}
	return errors.Join(errs...)
}
