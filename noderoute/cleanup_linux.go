// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// cleanup takes everything of ours away: the rules of either variant, and all
// that the rest of the kernel knows.
func (s *session) cleanup() error {
	l, err := s.listKernel(Plan{})
	if err != nil {
		return err
	}
	var errs error
	variants, err := s.variantsWithOurs()
	if err != nil {
		return err
	}
	// The set can only go after the rules of both variants that use it.
	others := variants[:max(len(variants)-1, 0)]
	for _, v := range others {
		c := teardown(s.side, &listing{side: s.side, tables: v.tables})
		errs = errors.Join(errs, s.dropRules(v.tools, c))
	}
	if len(variants) > 0 {
		last := variants[len(variants)-1]
		l.tables, s.node.tools = last.tables, last.tools
	}
	l.learn()
	errs = errors.Join(errs,
		s.apply(s.side, teardown(s.side, l), l),
		s.dropTables(),
		s.restoreSysctls(func(sysctlOrigin) bool { return true }))
	if errs != nil {
		return errors.Join(errs, s.saveState())
	}
	s.node.tools = tools{} // the next install decides anew
	return s.forget()
}

type variantTables struct {
	tools  tools
	tables saved
}

// variantsWithOurs lists the variants that hold rules of ours.
func (s *session) variantsWithOurs() ([]variantTables, error) {
	var out []variantTables
	for _, v := range []Variant{Legacy, NFT} {
		t, err := findTools(v)
		if errors.Is(err, ErrNoTool) {
			continue
		}
		if err != nil {
			return nil, err
		}
		tables, err := s.listTables(t)
		if err != nil {
			return nil, err
		}
		if hasOurs(s.side, tables["mangle"]) || hasOurs(s.side, tables["nat"]) {
			out = append(out, variantTables{t, tables})
		}
	}
	return out, nil
}

func (s *session) dropRules(t tools, c Changes) error {
	for _, st := range c.steps {
		if err := s.restoreTables(t, st.tables); err != nil {
			return err
		}
		s.result.Changes = append(s.result.Changes, st.lines()...)
	}
	return nil
}

// forget removes the state file: there is nothing left to put back.
func (s *session) forget() error {
	path := s.node.statePath(s.side)
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing state: %w", err)
	}
	return nil
}
