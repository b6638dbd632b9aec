// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ambient22/ambient22/hack/cluster/pki"
)

// files writes into one folder and remembers the first error, so that a list of
// files reads as one.
type files struct {
	root string
	err  error
}

func (f *files) write(name string, data []byte, mode os.FileMode, err error) {
	if f.err != nil {
		return
	}
	path := filepath.Join(f.root, name)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, data, mode)
	}
	if err != nil {
		f.err = fmt.Errorf("writing %s: %w", path, err)
	}
}

func (f *files) secret(name string, data []byte, err error) { f.write(name, data, 0o600, err) }

func (f *files) pair(name string, p pki.Pair, err error) {
	f.write(name+".crt", p.Cert, 0o644, err)
	f.secret(name+".key", p.Key, err)
}

func (f *files) kubeconfig(ca *pki.Authority, name, user string, groups ...string) {
	client, err := ca.Client(user, groups...)
	var data []byte
	if err == nil {
		data, err = ca.Kubeconfig(apiServer, client)
	}
	f.secret(name, data, err)
}

// object is a piece of a settings file. JSON is YAML, too.
type object map[string]any

func (f *files) settings(name string, o object) {
	data, err := json.MarshalIndent(o, "", "  ")
	f.write(name, append(data, '\n'), 0o644, err)
}

// copyProgram copies an executable file from the first folder that has it.
func (f *files) copyProgram(name string, folders ...string) {
	var in *os.File
	err := fmt.Errorf("looking in %v: %w", folders, os.ErrNotExist)
	for _, folder := range folders {
		if opened, openErr := os.Open(filepath.Join(folder, name)); openErr == nil {
			in, err = opened, nil
			break
		}
	}
	var data []byte
	if err == nil {
		defer in.Close()
		data, err = io.ReadAll(in)
	}
	f.write(name, data, 0o755, err)
}
