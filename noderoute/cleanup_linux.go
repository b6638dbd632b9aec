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
	// The set can only go after the rules of both variants that use it, whichever
	// of them would be in use.
	if l.elsewhere, err = s.tablesWithOurs(Legacy, NFT); err != nil {
		return err
	}
	l.learn()
	var errs error
	if problems := unreadable(l.elsewhere[NFT]); len(problems) > 0 {
		errs = &ObstacleError{Problems: problems} // all the rest can go
	}
	if !s.state.found && !teardown(s.side, l).Empty() {
		s.result.Warnings = append(s.result.Warnings, "there is no state file of this install: sysctls and empty nftables tables stay as they are")
	}
	errs = errors.Join(errs, s.apply(s.side, teardown(s.side, l), l))
	if errs == nil {
		// Not before all of ours is gone: what came with it is still in use, and
		// the next attempt has to know of it.
		errs = errors.Join(s.dropTables(), s.restoreSysctls(func(sysctlOrigin) bool { return true }))
	}
	if errs != nil {
		return errors.Join(errs, s.saveState())
	}
	s.node.tools = tools{} // the next install decides anew
	return s.forget()
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
