// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
)

// problems collects what is wrong with a set; the first few, because one mistake
// in a builder shows in a thousand resources.
type problems []error

const maxProblems = 10

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Errorf(format, args...))
}

func (p problems) err() error {
	if more := len(p) - maxProblems; more > 0 {
		return errors.Join(append(slices.Clone(p[:maxProblems]), fmt.Errorf("and %d more", more))...)
	}
	return errors.Join(p...)
}

// checked is a list of unknown origin as a table takes it: sorted, and every
// resource looked at. One that is served already has been checked, and is replaced
// by what is served, so that the older one's memory is not held beside the new.
func (p *problems) checked(k kind, served *table, list []*envoyconfig.Resource) []*envoyconfig.Resource {
	if slices.Contains(list, nil) {
		p.add("checking %ss: one of them is nil", k)
		return served.list
	}
	if !sameList(served.list, list) {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b *envoyconfig.Resource) int { return strings.Compare(a.Name, b.Name) })
	}
	old := served.list
	for i, r := range list {
		if i > 0 && r.Name == list[i-1].Name {
			p.add("checking %ss: %q is there twice", k, r.Name)
			continue
		}
		for len(old) > 0 && old[0].Name < r.Name {
			old = old[1:]
		}
		switch {
		case len(old) > 0 && old[0] == r:
		case len(old) > 0 && old[0].Name == r.Name && old[0].Version == r.Version:
			list[i] = old[0]
		default:
			if err := check(k, r); err != nil {
				p.add("checking %s %q: %w", k, r.Name, err)
			}
		}
	}
	return list
}

// check says what is wrong with one resource.
func check(k kind, r *envoyconfig.Resource) error {
	switch {
	case r.Name == "":
		return errors.New("it has no name")
	case r.Version == "":
		return errors.New("it has no version")
	case r.Type != k.typeURL():
		return fmt.Errorf("its type is %s", r.Type)
	}
	m, err := r.Message()
	if err != nil {
		return err
	}
	if name, _ := ownName(k, m); name != r.Name {
		return fmt.Errorf("its message is named %q", name)
	}
	if v, ok := m.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// ownName is the name inside the message, which is how a proxy knows it.
func ownName(k kind, m proto.Message) (string, bool) {
	switch m := m.(type) {
	case *clusterv3.Cluster:
		return m.GetName(), k == clusters
	case *endpointv3.ClusterLoadAssignment:
		return m.GetClusterName(), k == endpoints
	case *listenerv3.Listener:
		return m.GetName(), k == listeners
	case *corev3.TypedExtensionConfig:
		return m.GetName(), k == extensions
	}
	return "", false
}

// names fills in which certificate names are served, and for whom: those listed,
// and the bare identities behind them.
func (p *problems) names(identities map[string]string, listed []envoyconfig.SecretName) {
	for _, s := range listed {
		if s.Name == "" || s.Name == envoyconfig.RootCASecret {
			p.add("checking secret names: %q can't be a workload's certificate", s.Name)
			continue
		}
		if _, err := spiffeid.FromString(s.Identity); err != nil {
			p.add("checking secret %q: its identity %q: %w", s.Name, s.Identity, err)
			continue
		}
		for _, name := range []string{s.Name, s.Identity} {
			if other, ok := identities[name]; ok && other != s.Identity {
				p.add("checking secret %q: it is claimed by %s and by %s", name, other, s.Identity)
			}
			identities[name] = s.Identity
		}
	}
}
