// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// anyCaller stands for every identity in a form: what the builders make for it is
// made once, and written for each identity by filling in its two names.
func anyCaller() *caller { return &caller{identity: wire.Hole(0), secret: wire.Hole(1)} }

// form is a resource as it is made for any identity.
type form struct {
	typeURL       string
	before, after string // of the identity in its name
	template      *wire.Template
	texts         int    // of the identity and its certificate's name, how many it has
	bound         string // takes the place of the certificate's name
}

// form makes a form of what a builder made for anyCaller.
func (p *packer) form(name string, m proto.Message, texts int) (form, error) {
	template, err := p.template(m)
	if err != nil {
		return form{}, fmt.Errorf("building %q: %w", name, err)
	}
	before, after, _ := strings.Cut(name, wire.Hole(0))
	typeURL := "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
	return form{typeURL: typeURL, before: before, after: after, template: template, texts: texts}, nil
}

// template compiles a message that must be valid as it is, with its holes.
func (p *packer) template(m proto.Message) (*wire.Template, error) {
	if err := p.check(m); err != nil {
		return nil, err
	}
	return wire.Compile(m)
}

// bind is the form with the second text filled in.
func (f form) bind(text string) form {
	f.bound = text
	f.after = strings.ReplaceAll(f.after, wire.Hole(1), text)
	return f
}

func (f form) write(w *wire.Writer, c *caller) {
	texts := [2]string{c.identity, c.secret}
	if f.bound != "" {
		texts[1] = f.bound
	}
	f.template.Write(w, texts[:f.texts]...)
	w.Cut()
}

// names are the names of a form's resources, in one piece of memory.
func (f form) names(callers []caller, which []int) []string {
	size := 0
	for _, i := range which {
		size += len(f.before) + len(callers[i].identity) + len(f.after)
	}
	var all strings.Builder
	all.Grow(size)
	for _, i := range which {
		all.WriteString(f.before)
		all.WriteString(callers[i].identity)
		all.WriteString(f.after)
	}
	rest := all.String()
	names := make([]string, len(which))
	for n, i := range which {
		size := len(f.before) + len(callers[i].identity) + len(f.after)
		names[n], rest = rest[:size], rest[size:]
	}
	return names
}

// finish makes resources of what a writer wrote. They share what they are made of,
// so they are made together where they are likely to end together.
func finish(typeURL string, names []string, pieces []wire.Parts) []*Resource {
	const digits = 2 * versionBytes
	text := make([]byte, 0, digits*len(pieces))
	for i := range pieces {
		text = hex.AppendEncode(text, pieces[i].Digest[:versionBytes])
	}
	versions := string(text)
	all := make([]Resource, len(pieces))
	list := make([]*Resource, len(pieces))
	for i := range pieces {
		all[i] = Resource{Name: names[i], Version: versions[digits*i : digits*(i+1)], Type: typeURL, Wire: pieces[i].Bytes}
		list[i] = &all[i]
	}
	return list
}

// resource finishes one resource that is not made from a form.
func (p *packer) resource(name string, m proto.Message) (*Resource, error) {
	kind := m.ProtoReflect().Descriptor()
	if err := p.check(m); err != nil {
		return nil, fmt.Errorf("building %s %q: %w", kind.Name(), name, err)
	}
	parts, err := wire.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("building %s %q: %w", kind.Name(), name, err)
	}
	return finish("type.googleapis.com/"+string(kind.FullName()), []string{name}, []wire.Parts{parts})[0], nil
}

// check validates a message that is a part of another, and reports what went wrong
// while it was built.
func (p *packer) check(m proto.Message) error {
	err := p.err
	p.err = nil
	return errors.Join(err, validate(m))
}

// forms makes the forms that don't depend on who is in the mesh.
func (b *builder) forms() (*forms, error) {
	var f forms
	var err error
	if f.service, err = b.serviceForm(); err != nil {
		return nil, err
	}
	for _, add := range []func(*forms) error{b.tunnelForms, b.inboundForms, b.outboundForms} {
		if err := add(&f); err != nil {
			return nil, err
		}
	}
	return &f, nil
}
