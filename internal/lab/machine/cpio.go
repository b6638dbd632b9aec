// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// File types of an archive's entries, as in stat(2).
const (
	typeFile       = 0o100000
	typeDir        = 0o040000
	typeCharDevice = 0o020000
)

// cpio writes an archive in the form the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst:
// "newc"). The kernel makes no folders by itself, so each must come before what is in it. Everything belongs to root.
type cpio struct {
	w    *bufio.Writer
	next uint32 // inode number
	dirs map[string]bool
	err  error
}

func newCpio(w io.Writer) *cpio {
	return &cpio{w: bufio.NewWriterSize(w, 1<<20), dirs: map[string]bool{"/": true, ".": true}}
}

// dir adds a folder and those above it. mode gives the permissions of each.
func (c *cpio) dir(name string, mode func(dir string) uint32) {
	if c.dirs[name] {
		return
	}
	c.dirs[name] = true
	c.dir(path.Dir(name), mode)
	c.header(name, typeDir|mode(name), 0, 0, 0)
}

func (c *cpio) charDevice(name string, mode, major, minor uint32) {
	c.header(name, typeCharDevice|mode, 0, major, minor)
}

func (c *cpio) bytes(name string, mode uint32, content []byte) {
	c.header(name, typeFile|mode, int64(len(content)), 0, 0)
	c.put(content)
	c.align(int64(len(content)))
}

// copyFile adds a file of the host under another name.
func (c *cpio) copyFile(name string, mode uint32, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("packing a file for the machine: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("packing a file for the machine: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > 1<<32-1 {
		return fmt.Errorf("packing %s for the machine: not a regular file of less than 4 GiB", from)
	}
	c.header(name, typeFile|mode, info.Size(), 0, 0)
	if n, err := io.Copy(c.w, io.LimitReader(f, info.Size())); err != nil || n != info.Size() {
		return fmt.Errorf("packing %s for the machine: %d of %d bytes read: %w", from, n, info.Size(), orUnexpectedEOF(err))
	}
	c.align(info.Size())
	return c.err
}

func orUnexpectedEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// close ends the archive and returns the first error of all its writes.
func (c *cpio) close() error {
	c.header("TRAILER!!!", 0, 0, 0, 0)
	if c.err == nil {
		c.err = c.w.Flush()
	}
	return c.err
}

func (c *cpio) header(name string, mode uint32, size int64, major, minor uint32) {
	name = strings.TrimPrefix(name, "/")
	c.next++
	const links, owner, group, modified, devMajor, devMinor, check = 1, 0, 0, 0, 0, 0, 0
	fields := []uint32{
		c.next, mode, owner, group, links, modified, uint32(size), devMajor, devMinor, major, minor, uint32(len(name) + 1), check,
	}
	var head strings.Builder
	head.WriteString("070701")
	for _, f := range fields {
		fmt.Fprintf(&head, "%08X", f)
	}
	head.WriteString(name)
	head.WriteByte(0)
	c.put([]byte(head.String()))
	c.align(int64(head.Len()))
}

// align fills up to a multiple of four bytes after n.
func (c *cpio) align(n int64) { c.put(make([]byte, (4-n%4)%4)) }

func (c *cpio) put(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
}
