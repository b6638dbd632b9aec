// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// lockWait is how long a legacy restore waits for other users of iptables, in
// seconds. The nft variant needs no lock.
const lockWait = "10"

// ErrNoTool says that the programs of an iptables variant are not installed.
var ErrNoTool = errors.New("iptables-save and iptables-restore of this variant are not installed (Debian's package iptables has both)")

// tools are the two programs of one variant.
type tools struct {
	variant       Variant
	save, restore string
}

// findTools looks for a variant's programs by their full names, and then for
// plain ones that say they are of this variant.
func findTools(v Variant) (tools, error) {
	t := tools{variant: v}
	var err error
	if t.save, err = findTool("iptables-"+v.String()+"-save", "iptables-save", v); err != nil {
		return t, err
	}
	t.restore, err = findTool("iptables-"+v.String()+"-restore", "iptables-restore", v)
	return t, err
}

func findTool(full, plain string, v Variant) (string, error) {
	if path, err := lookPath(full); err == nil {
		return path, nil
	}
	path, err := lookPath(plain)
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", full, ErrNoTool)
	}
	out, err := exec.Command(path, "--version").Output()
	isNFT := strings.Contains(string(out), "nf_tables")
	if err != nil || isNFT != (v == NFT) {
		return "", fmt.Errorf("looking for %s: %w", full, ErrNoTool)
	}
	return path, nil
}

// lookPath also looks where system programs are and a service's PATH may not
// lead.
func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// legacyTables are the tables that the legacy variant has in this network
// namespace. Looking at a table with its own tools would make it.
func legacyTables() []string {
	text, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil {
		return nil // the kernel's module is not there, so its tables are not either
	}
	return strings.Fields(string(text))
}

// listTables runs iptables-save without naming a table: that prints those that
// exist and makes none.
func (s *session) listTables(t tools) (saved, error) {
	if t.variant == Legacy && len(legacyTables()) == 0 {
		return saved{}, nil
	}
	s.result.Listings++
	out, err := s.run(exec.CommandContext(s.ctx, t.save))
	if err != nil {
		return nil, fmt.Errorf("listing iptables rules (%s): %w", t.variant, err)
	}
	return parseSave(out), nil
}

// restoreTables makes all changes with one process.
func (s *session) restoreTables(t tools, changes []tableChange) error {
	input := restoreInput(changes)
	if input == "" {
		return nil
	}
	args := []string{"--noflush"}
	if t.variant == Legacy {
		args = append(args, "-w", lockWait)
	}
	cmd := exec.CommandContext(s.ctx, t.restore, args...)
	cmd.Stdin = strings.NewReader(input)
	s.result.Execs++
	if _, err := s.run(cmd); err != nil {
		return fmt.Errorf("writing iptables rules (%s): %w", t.variant, err)
	}
	return nil
}

// run runs a program in the session's network namespace: a child inherits it
// from the thread that starts it.
func (s *session) run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctxErr := context.Cause(s.ctx); ctxErr != nil {
		return "", ctxErr
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd.Path, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// decide settles which variant is used, once per node. What the state file
// says comes first: rules are already there.
func (s *session) decide() (tools, error) {
	if s.node.tools.save != "" {
		return s.node.tools, nil
	}
	v := s.node.options.IPTables
	if v == Auto && s.state.IPTables != "" {
		if parsed, err := ParseVariant(s.state.IPTables); err == nil {
			v = parsed
		}
	}
	if v == Auto {
		var err error
		if v, err = s.detect(); err != nil {
			return tools{}, err
		}
	}
	t, err := findTools(v)
	if err != nil {
		return tools{}, err
	}
	s.node.tools = t
	return t, nil
}

// detect counts the rules of both variants.
func (s *session) detect() (Variant, error) {
	count := func(v Variant) (installed bool, rules int, err error) {
		t, err := findTools(v)
		if errors.Is(err, ErrNoTool) {
			return false, 0, nil
		}
		if err != nil {
			return false, 0, err
		}
		have, err := s.listTables(t)
		return true, have.rules(), err
	}
	hasLegacy, legacy, err := count(Legacy)
	if err != nil {
		return Auto, err
	}
	hasNFT, nft, err := count(NFT)
	if err != nil {
		return Auto, err
	}
	if !hasNFT && !hasLegacy {
		return Auto, ErrNoTool
	}
	v, warning := chooseVariant(hasNFT, hasLegacy, nft, legacy)
	if warning != "" {
		s.result.Warnings = append(s.result.Warnings, warning)
	}
	return v, nil
}
