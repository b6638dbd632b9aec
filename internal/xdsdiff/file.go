// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// File is one input: where its resources stand. The resources themselves stay
// where they are until they are compared.
type File struct {
	Name string

	content *os.File
	found   []resource
	kinds   map[string]bool // that the file speaks of, even where it has none
	dump    bool            // a config_dump or a part of one, not a render
	silent  bool            // an empty list: it may be of any kind
}

// resource is one resource of a file.
type resource struct {
	kind, state string
	name        string
	again       int // how many of that kind, state and name stand before it

	offset int64
	size   int
	line   int
	digest [sha256.Size]byte // of its text

	candidates []string          // kinds it may be, while kind is ""
	hosts      [sha256.Size]byte // of an assignment: its addresses, in any order
	nameless   bool              // an assignment without cluster_name
	at         string            // its addresses, for people
}

// Type is the kind with the state before it: "listener", "static cluster".
func (r *resource) Type() string {
	if r.state == inUse {
		return r.kind
	}
	return r.state + " " + r.kind
}

// Open finds the resources in a file; "-" is standard input. What can be read only
// once, such as a pipe, is copied to a temporary file, which is gone with Close.
func Open(name string, stdin io.Reader) (*File, error) {
	f := &File{Name: name, kinds: map[string]bool{}}
	var err error
	if f.content, err = seekable(name, stdin); err != nil {
		return nil, err
	}
	if err := f.locate(); err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", name, err), f.Close())
	}
	return f, nil
}

// Close ends the use of the file.
func (f *File) Close() error {
	if err := f.content.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", f.Name, err)
	}
	return nil
}

func seekable(name string, stdin io.Reader) (*os.File, error) {
	if name == "-" {
		return spool(name, stdin)
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening a file to compare: %w", err)
	}
	info, err := in.Stat()
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("looking at %s: %w", name, err), in.Close())
	case info.IsDir():
		return nil, errors.Join(fmt.Errorf("opening %s: it is a folder", name), in.Close())
	case info.Mode().IsRegular():
		return in, nil
	}
	out, err := spool(name, in)
	return out, errors.Join(err, in.Close())
}

// spool copies a stream to a file that has no name any more.
func spool(name string, in io.Reader) (*os.File, error) {
	out, err := os.CreateTemp("", "xdsdiff-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file for %s: %w", name, err)
	}
	err = os.Remove(out.Name())
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copying %s to a temporary file: %w", name, err), out.Close())
	}
	return out, nil
}

// load reads a resource again, into memory that it may take over.
func (f *File) load(r *resource, into []byte, t *text) (value, []byte, error) {
	if cap(into) < r.size {
		into = make([]byte, r.size)
	}
	into = into[:r.size]
	if _, err := f.content.ReadAt(into, r.offset); err != nil {
		return value{}, into, fmt.Errorf("reading %s: %w", f.Name, err)
	}
	if sha256.Sum256(into) != r.digest {
		return value{}, into, fmt.Errorf("reading %s: it has changed meanwhile", f.Name)
	}
	v, err := t.parse(into)
	if err != nil {
		return value{}, into, fmt.Errorf("reading %s: %w", f.Name, err)
	}
	return v, into, nil
}
