// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/lab/topology"
)

// linkTools makes `iptables` in the hosts the variant the lab was asked for, as
// it is on a node that uses that variant.
func (n *Net) linkTools() error {
	for _, tool := range []string{"", "-save", "-restore"} {
		target, err := exec.LookPath("iptables-" + n.Variant + tool)
		if err != nil {
			return fmt.Errorf("finding the tools of iptables' %s variant (Debian: apt-get install iptables): %w", n.Variant, err)
		}
		link := filepath.Join(n.tools(), "iptables"+tool)
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("replacing %s: %w", link, err)
		}
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("linking %s: %w", link, err)
		}
	}
	return nil
}

// loadRules gives a node the rules it has before the mesh.
func (n *Net) loadRules(ctx context.Context, folder fs.FS, node *topology.Node) error {
	if node.Rules == "" {
		return nil
	}
	text, err := fs.ReadFile(folder, node.Rules)
	if err != nil {
		return fmt.Errorf("reading the rules of %s: %w", node.Host, err)
	}
	for _, table := range n.loadOrder(string(text)) {
		cmd, err := n.Command(ctx, node.Host, "iptables-restore", "--noflush")
		if err != nil {
			return err
		}
		cmd.Stdin = strings.NewReader(table)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("loading the rules of %s with iptables' %s variant: %w: %s", node.Host, n.Variant, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// loadOrder splits the rules by table. Legacy iptables-save prints the tables in
// the reverse of the order they came into being; loaded this way they stand as
// the file has them. The nf_tables variant prints them in an order of its own.
func (n *Net) loadOrder(text string) []string {
	var tables []string
	for part := range strings.SplitAfterSeq(text, "\nCOMMIT\n") {
		if strings.Contains(part, "*") && strings.Contains(part, "COMMIT") {
			tables = append(tables, part)
		}
	}
	if n.Variant == "legacy" {
		slices.Reverse(tables)
	}
	return tables
}
