// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// note adds a resource, which stands in a text that begins at that place.
func (l *locator) note(v value, at place, kind, state, name string) error {
	n := v.node()
	raw := v.raw()
	r := resource{
		kind: kind, state: state, name: name,
		offset: at.offset + int64(n.start), size: len(raw), digest: sha256.Sum256(raw),
		line: at.line + bytes.Count(v.of.data[:n.start], []byte{'\n'}),
	}
	if kind == "" {
		if r.candidates = guess(v); len(r.candidates) == 0 {
			return &placed{r.offset, r.line, errors.New("an object that is neither an xDS resource nor a part of a config_dump")}
		}
		if len(r.candidates) == 1 {
			r.kind, r.candidates = r.candidates[0], nil
		}
	}
	if own := ownName(v); own != "" {
		r.name = own
	}
	if r.kind == endpointKind {
		hosts := hostsOf(v)
		r.hosts = sha256.Sum256([]byte(strings.Join(hosts, "\n")))
		if r.nameless = r.name == ""; r.nameless {
			r.at = enumerate(hosts)
		}
	}
	if r.kind != "" {
		l.f.kinds[r.kind] = true
	}
	l.f.found = append(l.f.found, r)
	return nil
}

// ownName is the name in a resource, or in the refused one that a failure shows.
func ownName(v value) string {
	if inner, ok := v.member("failed_configuration"); ok {
		v = inner
	}
	for _, field := range []string{"name", "cluster_name"} {
		if n, ok := v.member(field); ok && n.kind() == stringNode {
			return n.string()
		}
	}
	return ""
}

// settleKinds takes a resource that may be of several kinds for what the others in
// the file are.
func (f *File) settleKinds() {
	for i := range f.found {
		r := &f.found[i]
		if r.kind != "" {
			continue
		}
		var fit []string
		for _, kind := range r.candidates {
			if f.kinds[kind] {
				fit = append(fit, kind)
			}
		}
		if len(fit) == 1 {
			r.kind = fit[0]
		}
	}
}

// hostsOf is the addresses of an assignment, sorted.
func hostsOf(assignment value) []string {
	var all []string
	endpoints, ok := assignment.member("endpoints")
	if !ok {
		return nil
	}
	for _, locality := range endpoints.elements() {
		hosts, ok := locality.member("lb_endpoints")
		if !ok {
			continue
		}
		for _, host := range hosts.elements() {
			all = append(all, hostAddress(host))
		}
	}
	slices.Sort(all)
	return all
}

// enumerate names the first of several things.
func enumerate(all []string) string {
	const enough = 2
	switch {
	case len(all) == 0:
		return "no hosts"
	case len(all) <= enough:
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:enough], ", "), len(all)-enough)
}
