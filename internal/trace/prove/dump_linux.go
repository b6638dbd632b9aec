// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// deviceSysctls are what is read below net/ipv4/conf for each device.
var deviceSysctls = [...]string{"accept_local", "forwarding", "route_localnet", "rp_filter", "src_valid_mark"}

// archive is the world as a dump shows it: the same programs print it.
func (k *kernel) archive(ctx context.Context) (*dump.Archive, error) {
	save, other := dump.KindNFTSave, dump.KindLegacySave
	if k.world.Variant == "legacy" {
		save, other = other, save
	}
	a := &dump.Archive{}
	a.Add(dump.HostSpace, other, "", "")
	for _, c := range []struct {
		kind  dump.Kind
		words string
	}{
		{save, "iptables-" + k.world.Variant + "-save"},
		{dump.KindRuleset, "nft list ruleset"},
		{dump.KindRules, "ip -4 rule show"},
		{dump.KindRoutes, "ip -4 route show table all"},
		{dump.KindLinks, "ip -d addr show"},
		{dump.KindSets, "ipset save"},
	} {
		text, err := command(ctx, "", strings.Fields(c.words)...)
		if err != nil {
			return nil, err
		}
		a.Add(dump.HostSpace, c.kind, text, "")
	}
	text, err := sysctls()
	a.Add(dump.HostSpace, dump.KindSysctls, text, "")
	return a, err
}

// saved is the rules with what they have counted by now.
func (k *kernel) saved(ctx context.Context) (*iptsave.Save, error) {
	program := "iptables-" + k.world.Variant + "-save"
	text, err := command(ctx, "", program, "-c")
	if err != nil {
		return nil, err
	}
	return iptsave.Parse(program, text)
}

func sysctls() (string, error) {
	const root = "/proc/sys/"
	paths := []string{root + "net/ipv4/ip_forward"}
	for _, key := range deviceSysctls {
		found, err := filepath.Glob(root + "net/ipv4/conf/*/" + key)
		if err != nil {
			return "", fmt.Errorf("listing sysctls: %w", err)
		}
		paths = append(paths, found...)
	}
	tracking, err := filepath.Glob(root + "net/netfilter/nf_conntrack_tcp_*")
	if err != nil {
		return "", fmt.Errorf("listing sysctls: %w", err)
	}
	var b strings.Builder
	for _, path := range append(paths, tracking...) {
		value, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading sysctl: %w", err)
		}
		key := strings.ReplaceAll(strings.TrimPrefix(path, root), "/", ".")
		fmt.Fprintf(&b, "%s = %s", key, value)
	}
	return b.String(), nil
}
