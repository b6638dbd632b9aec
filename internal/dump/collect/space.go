// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/osthread"
)

// space takes the texts of one network namespace.
type space struct {
	*collector
	name string
	fd   int // of the namespace
}

// take runs on a thread inside the namespace.
func (s *space) take(ctx context.Context, kinds []dump.Kind) {
	err := s.inside(func() error {
		for _, kind := range kinds {
			s.takeKind(ctx, kind)
		}
		return nil
	})
	if err != nil {
		s.archive.Gap(s.name, "", err.Error())
	}
}

// inside calls fn on a thread of its own, in the namespace.
func (s *space) inside(fn func() error) error {
	return osthread.Throwaway(func() error {
		// Also to go where it is already a thread needs rights that a container that
		// only asks about its own namespace does not have.
		if isHere(s.fd) {
			return fn()
		}
		if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering its network namespace: %w", err)
		}
		return fn()
	})
}

// isHere tells whether the calling thread is in the namespace.
func isHere(fd int) bool {
	var here, there unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &here) != nil || unix.Fstat(fd, &there) != nil {
		return false
	}
	return here.Dev == there.Dev && here.Ino == there.Ino
}

func (s *space) takeKind(ctx context.Context, kind dump.Kind) {
	if s.left <= 0 {
		s.archive.Gap(s.name, kind, fmt.Sprintf("left out: the dump would have over %d bytes", s.MaxTotal))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	out, err := s.read(ctx, kind)
	if err != nil {
		s.archive.Gap(s.name, kind, err.Error())
		return
	}
	s.left -= len(out.text)
	s.archive.Add(s.name, kind, out.text, out.cut)
}

func (s *space) read(ctx context.Context, kind dump.Kind) (output, error) {
	l := limits{bytes: min(s.MaxFile, s.left)}
	switch kind {
	case dump.KindNFTSave:
		if !s.kernel.has(partTables) {
			return output{}, nil
		}
		return s.iptables(ctx, l, "nf_tables", "iptables-nft-save")
	case dump.KindLegacySave:
		if !hasLegacyTables() {
			return output{}, nil
		}
		return s.iptables(ctx, l, "legacy", "iptables-legacy-save")
	case dump.KindRuleset:
		if !s.kernel.has(partTables) {
			return output{}, nil
		}
		return s.run(ctx, l, "nft", "list", "ruleset")
	case dump.KindRules:
		return s.run(ctx, l, "ip", "-4", "rule", "show")
	case dump.KindRoutes:
		return s.run(ctx, l, "ip", "-4", "route", "show", "table", "all")
	case dump.KindLinks:
		return s.run(ctx, l, "ip", "-d", "addr", "show")
	case dump.KindSets:
		if !s.kernel.has(partSets) {
			return output{}, nil
		}
		return s.run(ctx, l, "ipset", "save")
	case dump.KindConns:
		return s.conns(ctx, l)
	case dump.KindSysctls:
		return sysctls(l)
	case dump.KindConfigDump:
		return s.configDump(ctx, l)
	}
	return output{}, fmt.Errorf("no way to take this is known")
}

// iptables runs the save program of one variant, or the one without a variant in
// its name where its version says that it is that one.
func (s *space) iptables(ctx context.Context, l limits, variant, name string) (output, error) {
	out, err := s.run(ctx, l, name, "-c")
	if !errors.Is(err, errMissing) {
		return out, err
	}
	version, versionErr := s.run(ctx, limits{bytes: 1 << 10}, "iptables-save", "--version")
	if versionErr != nil {
		return output{}, err
	}
	is := "legacy" // which versions up to 1.6 do not say
	if strings.Contains(version.text, "nf_tables") {
		is = "nf_tables"
	}
	if is != variant {
		return output{}, err
	}
	return s.run(ctx, l, "iptables-save", "-c")
}

// hasLegacyTables tells whether the legacy variant has a table in the thread's
// namespace. Asking its program for one that is not there would make it.
func hasLegacyTables() bool {
	names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	return err == nil && len(strings.Fields(string(names))) > 0
}

// conns lists the tracked connections. It comes before the dump's own requests,
// which would be among them.
func (s *space) conns(ctx context.Context, l limits) (output, error) {
	switch {
	case !s.kernel.has(partTracking):
		return output{}, nil
	case !s.kernel.has(partListing):
		return output{}, fmt.Errorf("the kernel's module %s is not loaded, and asking would load it", partListing.module)
	}
	l.lines = s.MaxConns
	return s.run(ctx, l, "conntrack", "-L", "-f", "ipv4")
}
