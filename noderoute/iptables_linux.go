// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
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

// listTables reads the rules of a variant.
func (s *session) listTables(t tools) (saved, error) {
	if have, ok := s.listed[t.variant]; ok {
		return have, nil // deciding for a variant has read them already
	}
	if none, err := s.nothingIn(t.variant); err != nil || none {
		return saved{}, err
	}
	return s.saveTables(t)
}

// nothingIn tells whether a variant surely holds no rule of ours. Reading the
// names of chains is much cheaper than having all rules of a node with thousands
// of services printed, and needs no program.
func (s *session) nothingIn(v Variant) (bool, error) {
	if v == NFT {
		return nothingOfOurs(s.side)
	}
	return len(legacyTables()) == 0 || (s.side == Host && s.noLegacyChains()), nil
}

// tablesWithOurs lists the tables of those variants that hold rules of ours, or
// may hold them where nobody can read them.
func (s *session) tablesWithOurs(variants ...Variant) (map[Variant]saved, error) {
	out := map[Variant]saved{}
	for _, v := range variants {
		if none, err := s.nothingIn(v); err != nil {
			return nil, err
		} else if none {
			continue
		}
		t, err := findTools(v)
		if errors.Is(err, ErrNoTool) {
			if s.side == Host { // in a pod, only its programs could tell whose the rules are
				s.result.Warnings = append(s.result.Warnings, fmt.Sprintf("rules of ours are in the %s tables, and cannot be taken away: %v", v, err))
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		tables, err := s.listTables(t)
		if err != nil {
			return nil, err
		}
		if hasOurs(s.side, tables["mangle"]) || hasOurs(s.side, tables["nat"]) || len(unreadable(tables)) > 0 {
			out[v] = tables
		}
	}
	return out, nil
}

// saveTables runs iptables-save without naming a table: that prints those that
// exist and makes none.
func (s *session) saveTables(t tools) (saved, error) {
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
	stdin, err := memoryFile(input)
	if err != nil {
		return fmt.Errorf("writing iptables rules (%s): %w", t.variant, err)
	}
	defer stdin.Close()
	cmd := exec.CommandContext(s.ctx, t.restore, args...)
	cmd.Stdin = stdin
	s.result.Execs++
	delete(s.listed, t.variant)
	if _, err := s.run(cmd); err != nil {
		return fmt.Errorf("writing iptables rules (%s): %w", t.variant, err)
	}
	return nil
}

// memoryFile is a file with the given content that is nowhere on a disk.
func memoryFile(content string) (*os.File, error) {
	fd, err := unix.MemfdCreate("iptables-restore", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "iptables-restore")
	if _, err = f.WriteString(content); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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

// detect decides from what is installed and how many rules there are.
func (s *session) detect() (Variant, error) {
	u, err := s.usage()
	if err != nil {
		return Auto, err
	}
	v := u.choose()
	if w := u.warning(v); w != "" {
		s.result.Warnings = append(s.result.Warnings, w)
	}
	return v, nil
}

// usage counts the rules of both variants, without starting a process for one
// that has no tables.
func (s *session) usage() (usage, error) {
	_, noNFT := findTools(NFT)
	legacyTools, noLegacy := findTools(Legacy)
	u := usage{hasNFT: noNFT == nil, hasLegacy: noLegacy == nil}
	if !u.hasNFT && !u.hasLegacy {
		return u, noNFT
	}
	if u.hasLegacy {
		have, err := s.saveTables(legacyTools)
		if err != nil {
			return u, err
		}
		u.legacyRules = have.rules()
		s.listed = map[Variant]saved{Legacy: have}
	}
	var err error
	if u.legacyRules > 0 {
		u.nftRules, err = countNFT()
	}
	return u, err
}
