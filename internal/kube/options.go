// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
)

// Options are the settings of a mesh.
type Options struct {
	TrustDomain       string    // SPIFFE trust domain; "" means cluster.local
	Mode              Mode      // the zero value is ModeDefault
	DisabledSelectors Selectors // namespaces that never take part, in any mode
	Node              string    // where set, a Node of this name must be among the objects
}

// Mode says which namespaces take part.
type Mode int

// The mesh modes of 2022.
const (
	ModeDefault Mode = iota // namespaces with the label istio.io/dataplane-mode=ambient
	ModeOff                 // none
	ModeOn                  // all that have no sidecars and are not disabled
)

// ParseMode reads a mode as it stands on a command line: off, default or on.
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{ModeDefault, ModeOff, ModeOn} {
		if m.String() == s {
			return m, nil
		}
	}
	return ModeDefault, fmt.Errorf("parsing mesh mode: %q is none of off, default, on", s)
}

// String is the mode as it stands on a command line.
func (m Mode) String() string {
	switch m {
	case ModeDefault:
		return "default"
	case ModeOff:
		return "off"
	case ModeOn:
		return "on"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Selectors are label selectors for namespaces.
type Selectors []labels.Selector

// ParseSelectors reads label selectors in Kubernetes' notation, for example
// "kubernetes.io/metadata.name in (kube-system, istio-system)".
func ParseSelectors(texts []string) (Selectors, error) {
	var selectors Selectors
	var failed []error
	for _, text := range texts {
		selector, err := labels.Parse(text)
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("parsing label selector %q: %w", text, err))
		case selector.Empty():
			failed = append(failed, errors.New("parsing label selector: an empty one would disable every namespace; mesh mode off does that"))
		default:
			selectors = append(selectors, selector)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return selectors, nil
}

// match finds a selector that selects the labels, nil where none does.
func (s Selectors) match(set labels.Set) labels.Selector {
	for _, selector := range s {
		if selector.Matches(set) {
			return selector
		}
	}
	return nil
}
