// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"errors"
)

// errCut says that a netlink message ends before its attributes do.
var errCut = errors.New("a netlink message is cut off")

// nested and network-byte-order flags in an attribute's type.
const attributeType = 0x3fff

// attributes calls fn for each attribute of a netlink message's body.
func attributes(b []byte, fn func(kind uint16, value []byte)) error {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return errCut
		}
		fn(binary.NativeEndian.Uint16(b[2:])&attributeType, b[4:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	if len(b) > 0 {
		return errCut
	}
	return nil
}

// number is a big-endian number of 1 to 8 bytes, as nfnetlink's are.
func number(b []byte) uint64 {
	var n uint64
	if len(b) > 8 {
		return 0
	}
	for _, one := range b {
		n = n<<8 | uint64(one)
	}
	return n
}

// text is a string that may end with a zero byte.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
