// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// State is what a plugin goes by while no controller answers. The first three are
// those of 2022.
type State struct {
	Mode              string   `json:"mode"` // off, default or on
	DisabledSelectors []string `json:"disabledSelectors"`
	ZtunnelReady      bool     `json:"ztunnelReady"`
	ActiveNamespaces  []string `json:"activeNamespaces"` // whose pods take part, unless a pod itself does not
}

// Active reports whether pods of a namespace take part.
func (s State) Active(namespace string) bool {
	return slices.Contains(s.ActiveNamespaces, namespace)
}

// ReadState reads the file. Where there is none, nobody takes part.
func ReadState(path string) (State, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("reading the state of the mesh: %w", err)
	}
	var s State
	if err := json.Unmarshal(content, &s); err != nil {
		return State{}, fmt.Errorf("reading the state of the mesh in %s: %w", path, err)
	}
	return s, nil
}

// WriteState replaces the file at once, where it says something else.
func WriteState(path string, s State) error {
	s.DisabledSelectors = append([]string{}, s.DisabledSelectors...) // [], not null
	s.ActiveNamespaces = append([]string{}, s.ActiveNamespaces...)
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the state of the mesh: %w", err)
	}
	content = append(content, '\n')
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the state of the mesh: %w", err)
	}
	if err := WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("writing the state of the mesh: %w", err)
	}
	return nil
}

// PartEnding begins the ending of files that are being written. No container runtime
// looks for such a one.
const PartEnding = ".ambient22-part-"

// WriteFile writes a file beside path and renames it to path: who reads it finds
// the old content or the new one.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+PartEnding)
	if err != nil {
		return err
	}
	_, err = part.Write(content)
	err = errors.Join(err, part.Chmod(mode), part.Sync(), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}
