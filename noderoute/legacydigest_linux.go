// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// legacyDigest is what is remembered of a table of the legacy variant. Reading a
// table's numbers costs next to nothing and shows most changes. The table itself
// takes milliseconds on a node with thousands of services, so it is read as often
// as compareShare allows, and eight times as often when the numbers differ.
type legacyDigest struct {
	info string // the kernel's struct ipt_getinfo: where the chains begin, how many entries, how many bytes
	sum  uint64 // of our chains and the built-in ones; 0 where there is no chain of ours
	read time.Time
	cost time.Duration // of reading, in the thread's own time
}

// fresh tells whether a digest still does for a table with these numbers.
func (d *legacyDigest) fresh(info []byte, now time.Time) bool {
	if d == nil {
		return false
	}
	wait := compareShare * d.cost
	if d.info != string(info) {
		wait /= 8
	}
	return now.Sub(d.read) < wait
}

// same tells whether our part of a table is as it was.
func (d *legacyDigest) same(o *legacyDigest) bool {
	return d == o || (d != nil && o != nil && d.sum == o.sum)
}

// legacyDigests looks at mangle and nat, where they are.
func (s *session) legacyDigests(before map[string]*legacyDigest) (map[string]*legacyDigest, error) {
	out := map[string]*legacyDigest{}
	tables := legacyTables()
	for _, name := range []string{"mangle", "nat"} {
		if !slices.Contains(tables, name) {
			continue
		}
		info, err := s.legacyInfo(name)
		if err != nil {
			return nil, err
		}
		old, now, start := before[name], time.Now(), threadTime()
		if old.fresh(info, now) {
			out[name] = old
			continue
		}
		blob, err := s.legacyBlob(name)
		if errors.Is(err, unix.EAGAIN) { // it has grown since its size was read
			out[name] = old
			continue
		}
		if err != nil {
			return nil, err
		}
		sum := legacySum(info, blob)
		out[name] = &legacyDigest{info: string(info), sum: sum, read: now, cost: threadTime() - start}
	}
	return out, nil
}

// Struct ipt_entry and what follows it, from linux/netfilter_ipv4/ip_tables.h and
// linux/netfilter/x_tables.h.
const (
	iptHooks        = 5
	iptHookEntries  = iptNameLen + 4 // in struct ipt_getinfo
	iptTargetOffset = 88
	iptNextOffset   = 90
	iptMatchEnd     = 92  // before the hook mask and the counters
	iptElems        = 112 // matches, then the target
	xtTargetHeader  = 32  // length, name, revision
	xtTargetName    = 2
	xtErrorTarget   = "ERROR" // at the beginning of each chain that is not built in
)

// legacySum is a checksum over the rules of our chains and of the built-in ones,
// without what changes by itself: counters, and the places of the chains that are
// jumped to. A table without a chain of ours has the sum 0.
func legacySum(info, blob []byte) uint64 {
	chains := legacyChains(info, blob)
	ours := false
	h := fnv.New64a()
	chain := ""
	for at, e := range legacyEntries(blob) {
		if name, begins := chains[at]; begins {
			chain = name
		}
		if isChainHead(e) {
			chain = "" // what follows is the next one's
		}
		own := ownChain(Host, chain)
		ours = ours || own
		if !own && !strings.HasPrefix(chain, " ") {
			continue
		}
		io.WriteString(h, chain)
		h.Write(e[:iptMatchEnd])
		target := int(binary.NativeEndian.Uint16(e[iptTargetOffset:]))
		h.Write(e[iptElems:target])
		if to, ok := verdict(e[target:]); ok && to >= 0 {
			io.WriteString(h, chains[to])
		} else {
			h.Write(e[target:])
		}
	}
	if !ours {
		return 0
	}
	return h.Sum64()
}

// legacyChains are the names of chains by the place of their first rule. Built-in
// ones are numbered, with a blank before it.
func legacyChains(info, blob []byte) map[int]string {
	chains := map[int]string{}
	valid := binary.NativeEndian.Uint32(info[iptNameLen:])
	for hook := range iptHooks {
		if valid&(1<<hook) != 0 {
			chains[int(binary.NativeEndian.Uint32(info[iptHookEntries+4*hook:]))] = " " + strconv.Itoa(hook)
		}
	}
	for at, e := range legacyEntries(blob) {
		if isChainHead(e) {
			target := e[binary.NativeEndian.Uint16(e[iptTargetOffset:]):]
			chains[at+len(e)] = cString(target[xtTargetHeader:])
		}
	}
	return chains
}

// isChainHead tells whether an entry is not a rule but the name of the chain that
// begins behind it.
func isChainHead(e []byte) bool {
	target := e[binary.NativeEndian.Uint16(e[iptTargetOffset:]):]
	return cString(target[xtTargetName:xtTargetHeader-1]) == xtErrorTarget
}

// legacyEntries are a table's entries by their places. It ends at one that is not
// whole.
func legacyEntries(blob []byte) func(func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for at := 0; at+iptElems <= len(blob); {
			target := int(binary.NativeEndian.Uint16(blob[at+iptTargetOffset:]))
			next := int(binary.NativeEndian.Uint16(blob[at+iptNextOffset:]))
			if target < iptElems || target+xtTargetHeader > next || at+next > len(blob) || !yield(at, blob[at:at+next]) {
				return
			}
			at += next
		}
	}
}

// verdict is where a jump leads, or below 0 what becomes of the packet; of no other
// target does it say anything.
func verdict(target []byte) (int, bool) {
	if target[xtTargetName] != 0 || len(target) < xtTargetHeader+4 {
		return 0, false
	}
	return int(int32(binary.NativeEndian.Uint32(target[xtTargetHeader:]))), true
}

func cString(p []byte) string {
	if i := slices.Index(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}

// legacyInfo reads a table's numbers.
func (s *session) legacyInfo(table string) ([]byte, error) {
	info := make([]byte, iptInfoLen)
	copy(info, table)
	if err := getsockopt(s.ioctl, iptGetInfo, info); err != nil {
		return nil, fmt.Errorf("reading the size of legacy table %s: %w", table, err)
	}
	return info, nil
}
