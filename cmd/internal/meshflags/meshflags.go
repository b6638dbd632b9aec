// SPDX-License-Identifier: Apache-2.0

// Package meshflags has the command-line flags that say which mesh a command
// works on, and as which of its nodes. The commands that load one share them.
package meshflags

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

// Flags are the flags, as they are typed.
type Flags struct {
	Node        string
	Manifests   string
	TrustDomain string

	// Cluster says that a cluster describes the mesh where Manifests is "".
	Cluster bool

	mode      string
	selectors []string
}

// Register adds the flags, with their defaults, to a command's.
func (o *Flags) Register(f *pflag.FlagSet) {
	f.StringVar(&o.Node, "node", os.Getenv("NODE_NAME"), "name of the node (required; $NODE_NAME where that is set)")
	f.StringVar(&o.Manifests, "manifests", "", "folder of Kubernetes manifests that describe the mesh")
	f.StringVar(&o.TrustDomain, "trust-domain", mesh.DefaultTrustDomain, "SPIFFE trust domain")
	f.StringVar(&o.mode, "mesh-mode", "default", "who takes part: off, default (labelled namespaces), on (all namespaces)")
	f.StringArrayVar(&o.selectors, "disabled-selector", nil, "label selector of namespaces that never take part (repeatable)")
}

// Options are the checked flags. The error names every flag that is wrong.
func (o *Flags) Options() (manifest.Options, error) {
	var faults []error
	if o.Node == "" {
		faults = append(faults, errors.New("--node is required: the name of a node of the mesh"))
	}
	if o.Manifests == "" && !o.Cluster {
		faults = append(faults, errors.New("--manifests is required: a folder of Kubernetes YAML (Node, Namespace, Pod, Service, EndpointSlice)"))
	}
	// SPIFFE's own library also takes a whole URI here; identities are made from what is typed.
	if domain, err := spiffeid.TrustDomainFromString(o.TrustDomain); err != nil || domain.Name() != o.TrustDomain {
		faults = append(faults, fmt.Errorf("--trust-domain: %q is none: lower-case letters, digits, dots, dashes and underscores, like %s", o.TrustDomain, mesh.DefaultTrustDomain))
	}
	mode, err := kube.ParseMode(o.mode)
	if err != nil {
		faults = append(faults, fmt.Errorf("--mesh-mode: %w", err))
	}
	selectors, err := kube.ParseSelectors(o.selectors)
	if err != nil {
		faults = append(faults, fmt.Errorf("--disabled-selector: %w", err))
	}
	if err := errors.Join(faults...); err != nil {
		return manifest.Options{}, err
	}
	return manifest.Options{TrustDomain: o.TrustDomain, Mode: mode, DisabledSelectors: selectors, Node: o.Node}, nil
}
