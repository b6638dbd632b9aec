// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// Options are the settings of the mesh that the manifests describe.
type Options = kube.Options

// Load reads every manifest in a folder and its subfolders. Where anything in it
// can't be used, the error joins one *Error per fault and there is no snapshot.
func Load(dir string, o Options) (*mesh.Snapshot, error) {
	found, err := scan(dir)
	if err != nil {
		return nil, fmt.Errorf("loading manifests: %w", err)
	}
	return found.snapshot(dir, o)
}

// snapshot decodes what was read.
func (f *folder) snapshot(dir string, o Options) (*mesh.Snapshot, error) {
	if len(f.files) == 0 {
		return nil, fmt.Errorf("loading manifests: folder %s has no .yaml, .yml or .json file", dir)
	}
	d := newDecoder()
	for _, file := range f.files {
		d.decodeFile(file)
	}
	faults := d.faults
	snapshot, problems := kube.Snapshot(d.objects, o)
	for _, p := range problems {
		at, ok := d.places[p.Object]
		switch {
		case !ok && len(d.faults) > 0:
			continue // what is missing may stand in a document that could not be read
		case !ok:
			at = place{file: dir}
		}
		faults = append(faults, &Error{File: at.file, Line: at.line, Object: p.Object.String(), Err: detail{p}})
	}
	if len(faults) == 0 {
		return snapshot, nil
	}
	return nil, fmt.Errorf("loading manifests: %d %s, nothing was taken over:\n%w", len(faults), plural(len(faults), "fault"), join(faults))
}

func join(faults []*Error) error {
	sortFaults(faults)
	all := make([]error, len(faults))
	for i, f := range faults {
		all[i] = f
	}
	return errors.Join(all...)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
