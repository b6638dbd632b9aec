// SPDX-License-Identifier: Apache-2.0

package ipset

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// List reads the set of that name with its entries, in the order of their
// addresses; nil where there is none, also where the kernel has no sets.
func (c *Conn) List(name string) (*Listed, error) {
	var b nlbatch.Batch
	begin(&b, cmdList, 0, name)
	var set *Listed
	err := c.nl.Dump(&b, func() { set = &Listed{Name: name} }, func(m nlbatch.Message) error {
		set.read(m)
		return nil
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("listing set %s: %w", name, err)
	case set.Type == "":
		return nil, nil
	}
	slices.SortFunc(set.Entries, byAddr)
	return set, nil
}

// read takes one message of a listing: the first has the set's header, every
// one some entries.
func (l *Listed) read(m nlbatch.Message) {
	for a := range nlbatch.Attributes(payload(m)) {
		switch a.Type {
		case attrTypeName:
			l.Type = a.String()
		case attrFamily:
			l.Family = map[uint8]string{unix.AF_INET: "inet", unix.AF_INET6: "inet6"}[a.Uint8()]
		case attrData:
			for d := range nlbatch.Attributes(a.Value) {
				switch d.Type {
				case dataCADTFlags:
					l.Comments = d.Uint32BE()&flagWithComment != 0
				case dataReferences:
					l.References = int(d.Uint32BE())
				}
			}
		case attrADT:
			for d := range nlbatch.Attributes(a.Value) {
				l.Entries = append(l.Entries, readEntry(d.Value))
			}
		}
	}
}

func readEntry(p []byte) Entry {
	var e Entry
	for a := range nlbatch.Attributes(p) {
		switch a.Type {
		case dataIP:
			for ip := range nlbatch.Attributes(a.Value) {
				e.IP = ip.Addr()
			}
		case dataComment:
			e.Comment = a.String()
		}
	}
	return e
}
