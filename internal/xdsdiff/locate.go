// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"errors"
	"fmt"
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

// holder is an object that may turn out to hold lists of resources. As long as it
// has not, it is kept: it may be an entry or a resource itself.
type holder struct {
	top    bool
	lists  bool
	passed []passed
}

// passed is a member that was passed by, and where in what was kept it stands.
type passed struct {
	at       place
	from, to int
}

// object reads an object: one that holds lists, or else a single entry or resource.
func (l *locator) object(top bool) error {
	l.s.keep()
	at := l.here()
	if err := l.s.expect('{', "an object"); err != nil {
		return err
	}
	h := &holder{top: top}
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
		if err := l.member(h, snake(key)); err != nil {
			return err
		}
	}
	if h.lists {
		return nil
	}
	return l.entry(l.s.take(), at)
}

// holds notes that the object holds lists. Nobody will look at the rest of it, so it
// is checked here.
func (l *locator) holds(h *holder) error {
	if h.lists {
		return nil
	}
	h.lists = true
	kept := l.s.take()
	for _, p := range h.passed {
		if _, err := l.parse(kept[p.from:p.to], p.at); err != nil {
			return err
		}
	}
	return nil
}

// pass goes over a member that holds no resources.
func (l *locator) pass(h *holder) error {
	if h.lists {
		_, _, err := l.element()
		return err
	}
	p := passed{at: l.here(), from: len(l.s.keptSoFar())}
	if err := l.s.skip(); err != nil {
		return err
	}
	p.to = len(l.s.keptSoFar())
	h.passed = append(h.passed, p)
	return nil
}

// member reads the value of an object's key.
func (l *locator) member(h *holder, key string) error {
	c, err := l.s.peek()
	if err != nil {
		return err
	}
	if key == "@type" && c == '"' {
		url, err := l.s.str()
		if kind := dumpTypes()[typeName(url)]; err == nil && kind != "" {
			l.f.kinds[kind], l.f.dump = true, true
			err = l.holds(h)
		}
		return err
	}
	kind := kindLists()[key]
	sec, isSection := l.lists[key]
	switch {
	case c != '[':
		return l.pass(h)
	case isSection:
		l.f.kinds[sec.kind], l.f.dump = true, true
		return l.list(h, func() error { return l.inSection(&sec) })
	case key == "configs", key == "resources":
		l.f.dump = l.f.dump || key == "configs"
		return l.list(h, func() error { return l.object(false) })
	case h.top && kind == endpointKind:
		return l.endpoints(h)
	case h.top && kind != "":
		l.f.kinds[kind] = true
		return l.list(h, func() error { return l.ofKind(kind) })
	}
	return l.pass(h)
}

// list reads a list of the object's.
func (l *locator) list(h *holder, one func() error) error {
	if err := l.holds(h); err != nil {
		return err
	}
	return l.each(one)
}

// endpoints reads a list that either holds assignments, or the localities of the
// single assignment that the file is.
func (l *locator) endpoints(h *holder) error {
	any := false
	before := len(l.f.found)
	whole := passed{at: l.here(), from: len(l.s.keptSoFar())}
	assignments := true
	err := l.each(func() error {
		any = true
		if h.lists {
			return l.ofKind(endpointKind)
		}
		at := l.here()
		from := len(l.s.keptSoFar())
		if err := l.s.skip(); err != nil {
			return err
		}
		v, err := l.parse(l.s.keptSoFar()[from:], at)
		if err != nil {
			return err
		}
		if assignments = assignments && !isLocality(v); assignments {
			err = l.note(v, at, endpointKind, inUse, "")
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !assignments:
		l.f.found = l.f.found[:before]
		whole.to = len(l.s.keptSoFar())
		h.passed = append(h.passed, whole)
		return nil
	}
	l.f.kinds[endpointKind] = true
	if any {
		return l.holds(h)
	}
	return nil
}

// isLocality reports whether an object is a part of an assignment and not a whole one.
func isLocality(v value) bool {
	for _, field := range []string{"lb_endpoints", "locality", "priority", "load_balancing_weight", "leds_cluster_locality_config"} {
		if _, ok := v.member(field); ok {
			return true
		}
	}
	return false
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
