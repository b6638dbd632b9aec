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

// locator goes through a file and notes its resources.
type locator struct {
	f     *File
	s     *scanner
	t     text
	lists map[string]section
}

// ErrNothing is a file without any resource or section of a config_dump.
var ErrNothing = errors.New("no xDS resources found: neither a config_dump, a section or an entry of one, nor a JSON list of resources")

func (f *File) locate() error {
	l := &locator{f: f, s: newScanner(f.content), lists: sections()}
	if err := l.top(); err != nil {
		return err
	}
	if err := l.s.end(); err != nil {
		return err
	}
	if len(f.found) == 0 && len(f.kinds) == 0 && !f.silent {
		return ErrNothing
	}
	f.settleKinds()
	return nil
}

func (l *locator) top() error {
	l.s.byteOrderMark()
	c, err := l.s.peek()
	switch {
	case err != nil && l.s.offset() == 0:
		return errors.Join(errors.New("the file is empty"), l.s.readError())
	case err != nil:
		return err
	case c == '{':
		return l.object(true)
	case c != '[':
		return l.s.fault(fmt.Sprintf("a config_dump is an object and a render a list; this begins with %q", c))
	}
	before := len(l.f.found)
	if err := l.objects(); err != nil {
		return err
	}
	l.f.silent = len(l.f.found) == before && len(l.f.kinds) == 0
	return nil
}

// objects reads a list whose elements may be anything that the top may be.
func (l *locator) objects() error {
	return l.each(func() error { return l.object(false) })
}

// each calls one for every element of the array at the position.
func (l *locator) each(one func() error) error {
	if err := l.s.expect('[', "a list"); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := l.s.more(first, ']')
		if err != nil || !more {
			return err
		}
		if c, err := l.s.peek(); err != nil {
			return err
		} else if c != '{' {
			return l.s.fault(fmt.Sprintf("the list should hold objects, not %q", c))
		}
		if err := one(); err != nil {
			return err
		}
	}
}

// object reads an object: one that holds lists, or else a single entry or resource.
func (l *locator) object(top bool) error {
	l.s.keep()
	at := l.here()
	if err := l.s.expect('{', "an object"); err != nil {
		return err
	}
	holdsLists := false
	for first := true; ; first = false {
		more, err := l.s.more(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := l.s.key()
		if err != nil {
			return err
		}
		list, err := l.listMember(snake(key), top)
		if err != nil {
			return err
		}
		holdsLists = holdsLists || list
	}
	if holdsLists {
		return nil
	}
	return l.entry(l.s.take(), at)
}

// listMember reads the value of an object's key, and reports whether the key is one
// that makes the object a holder of resources.
func (l *locator) listMember(key string, top bool) (bool, error) {
	c, err := l.s.peek()
	if err != nil {
		return false, err
	}
	if key == "@type" && c == '"' {
		url, err := l.s.str()
		kind := dumpTypes()[typeName(url)]
		if kind != "" {
			l.f.kinds[kind], l.f.dump = true, true
			l.s.drop()
		}
		return kind != "", err
	}
	if c != '[' {
		return false, l.s.skip()
	}
	if sec, ok := l.lists[key]; ok {
		l.f.kinds[sec.kind], l.f.dump = true, true
		l.s.drop()
		return true, l.each(func() error { return l.inSection(&sec) })
	}
	switch kind := kindLists()[key]; {
	case key == "configs", key == "resources":
		l.f.dump = l.f.dump || key == "configs"
		l.s.drop()
		return true, l.objects()
	case top && kind == endpointKind:
		return l.endpoints()
	case top && kind != "":
		l.f.kinds[kind] = true
		l.s.drop()
		return true, l.each(func() error { return l.ofKind(kind) })
	}
	return false, l.s.skip()
}

// endpoints reads a list that either holds assignments, or the localities of the
// single assignment that the file is.
func (l *locator) endpoints() (bool, error) {
	assignments, any := true, false
	whole := l.s.keeping
	err := l.each(func() error {
		any = true
		if !whole {
			l.s.keep()
		}
		at := l.here()
		from := len(l.s.keptSoFar())
		if err := l.s.skip(); err != nil {
			return err
		}
		raw := l.s.keptSoFar()[from:]
		v, err := l.parse(raw, at)
		if err != nil {
			return err
		}
		for _, field := range []string{"lb_endpoints", "locality", "priority", "load_balancing_weight", "leds_cluster_locality_config"} {
			if _, ok := v.member(field); ok {
				assignments = false
			}
		}
		if assignments {
			return l.note(v, at, endpointKind, inUse, "")
		}
		return nil
	})
	if assignments {
		l.f.kinds[endpointKind] = true
	}
	return assignments && any, err
}

// place says where in the file a text begins.
type place struct {
	offset int64
	line   int
}

func (l *locator) here() place { return place{l.s.offset(), l.s.line} }

// parse reads a text that was taken from the file, for the moment.
func (l *locator) parse(raw []byte, at place) (value, error) {
	v, err := l.t.parse(raw)
	var fault *syntaxError
	if errors.As(err, &fault) {
		upTo := min(fault.at, len(raw))
		return v, &placed{at.offset + int64(fault.at), at.line + bytes.Count(raw[:upTo], []byte{'\n'}), fault}
	}
	return v, err
}

// element takes the next element of a list out of the file.
func (l *locator) element() (value, place, error) {
	l.s.keep()
	at := l.here()
	if err := l.s.skip(); err != nil {
		return value{}, at, err
	}
	v, err := l.parse(l.s.take(), at)
	return v, at, err
}

func (l *locator) ofKind(kind string) error {
	v, at, err := l.element()
	if err != nil {
		return err
	}
	return l.note(v, at, kind, inUse, "")
}

func (l *locator) inSection(sec *section) error {
	v, at, err := l.element()
	if err != nil {
		return err
	}
	return l.parts(v, at, sec)
}

// entry notes what an object by itself is: an entry of a config_dump, or a resource.
func (l *locator) entry(raw []byte, at place) error {
	v, err := l.parse(raw, at)
	if err != nil {
		return err
	}
	if name := entrySection(v); name != "" {
		sec := l.lists[name]
		l.f.kinds[sec.kind], l.f.dump = true, true
		return l.parts(v, at, &sec)
	}
	if list, ok := v.member("endpoints"); ok && list.empty() && l.f.kinds[endpointKind] && v.node().after == 3 {
		return nil // an object of lists, whose only one is empty
	}
	if inner, ok := v.member("bootstrap"); ok && inner.kind() == objectNode {
		l.f.kinds[bootstrapKind], l.f.dump = true, true
		return l.note(inner, at, bootstrapKind, inUse, "")
	}
	if url, ok := v.member("@type"); ok {
		if kind := kindOfType(url.string()); kind != "" {
			return l.note(v, at, kind, inUse, "")
		}
		return nil // a part of a dump that nothing is compared of
	}
	return l.note(v, at, "", inUse, "")
}

// parts notes the resources in one entry of a config_dump.
func (l *locator) parts(entry value, at place, sec *section) error {
	var name string
	if n, ok := entry.member("name"); ok {
		name = n.string()
	}
	for _, p := range sec.parts {
		inner, ok := entry, true
		for _, field := range p.path {
			if inner, ok = inner.member(field); !ok {
				break
			}
		}
		if !ok || inner.kind() != objectNode || inner.empty() {
			continue
		}
		if err := l.note(inner, at, sec.kind, p.state, name); err != nil {
			return err
		}
	}
	return nil
}

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
		r.hosts = hostsDigest(v)
		r.nameless = r.name == ""
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

// hostsDigest is equal for assignments with the same addresses.
func hostsDigest(assignment value) [sha256.Size]byte {
	var all []string
	endpoints, _ := assignment.member("endpoints")
	if endpoints.of == nil {
		return sha256.Sum256(nil)
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
	return sha256.Sum256([]byte(strings.Join(all, "\n")))
}
