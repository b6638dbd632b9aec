// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPrefixes(t *testing.T) {
	for prefix, want := range map[string]RuleEvent{
		"TRACE: mangle:PREROUTING:rule:11 ":        {Table: "mangle", Chain: "PREROUTING", Index: 11},
		"TRACE: nat:KUBE-SERVICES:return:3 ":       {Kind: RuleReturn, Table: "nat", Chain: "KUBE-SERVICES", Index: 3},
		"TRACE: filter:cali-fw:of:a:rule:1 ":       {Table: "filter", Chain: "cali-fw:of:a", Index: 1},
		"TRACE: raw:OUTPUT:policy:1 ":              {Kind: RulePolicy, Table: "raw", Chain: "OUTPUT", Index: 1},
		"mangle pre [ ztunnel-rts54] ":             {},
		"TRACE: ":                                  {},
		"TRACE: mangle":                            {},
		"TRACE: mangle:PREROUTING:something:1":     {},
		"TRACE: mangle:PREROUTING:rule:eleven":     {},
		"TRACE: mangle:PREROUTING:rule:1 and more": {},
	} {
		var r RuleEvent
		if ok := r.parsePrefix(prefix); ok != (want.Table != "") || ok && r != want {
			t.Errorf("%q: got %v, %+v", prefix, ok, r)
		}
	}
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestAttributesCutOff(t *testing.T) {
	whole := append(attribute(1, []byte("abc")), attribute(2|0x8000, []byte{1, 2, 3, 4})...)
	for n := range len(whole) {
		count := 0
		err := attributes(whole[:n], func(uint16, []byte) { count++ })
		// The padding may be missing, and nothing else.
		if ok := n == 0 || n == 7 || n == 8; ok != (err == nil) {
			t.Errorf("%d bytes: %d attributes, %v", n, count, err)
		}
	}
	err := attributes(whole, func(kind uint16, value []byte) {
		if kind == 2 && number(value) != 0x01020304 {
			t.Errorf("attribute %d is %v", kind, value)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// ipv4 is a TCP packet's bytes.
func ipv4(src, dst netip.AddrPort, flags byte) []byte {
	b := make([]byte, 40)
	b[0], b[3], b[8], b[9] = 0x45, 40, 64, protoTCP
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	b[33] = flags
	return b
}

func frame(packet []byte) []byte { return append([]byte{12: 8, 13: 0}, packet...) }

func TestTunnels(t *testing.T) {
	inner := frame(ipv4(netip.MustParseAddrPort("10.4.4.19:40000"), netip.MustParseAddrPort("10.8.14.226:9080"), flagSYN))
	udp := make([]byte, udpHeader)
	vxlan := append(append([]byte{}, udp...), 0x08, 0, 0, 0, 0, 3, 0xe9, 0)
	geneve := append(append([]byte{}, udp...), 0, 0, 0x65, 0x58, 0, 3, 0xe8, 0)
	options := append(append([]byte{}, udp...), 2, 0, 0x65, 0x58, 0, 3, 0xe8, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	for name, tt := range map[string]struct {
		header []byte
		vni    uint32
	}{"VXLAN": {vxlan, 1001}, "Geneve": {geneve, 1000}, "Geneve with options": {options, 1000}} {
		got := parseTunnel(append(tt.header, inner...))
		if got == nil || got.VNI != tt.vni || got.Inner.String() != "TCP SYN 10.4.4.19:40000 → 10.8.14.226:9080" {
			t.Errorf("%s: got %+v", name, got)
		}
		for n := range len(tt.header) + len(inner) - 20 {
			if parseTunnel(append(tt.header[:len(tt.header):len(tt.header)], inner...)[:n]) != nil {
				t.Errorf("%s cut to %d bytes passes", name, n)
			}
		}
	}
}

// What the kernel tells may be anything, too: reading it must end.
func FuzzDecode(f *testing.F) {
	f.Add(uint16(subsystemTables<<8|unix.NFT_MSG_TRACE), attribute(unix.NFTA_TRACE_TABLE, []byte("mangle\x00")))
	f.Add(uint16(subsystemLog<<8), attribute(logPrefix, []byte("TRACE: mangle:PREROUTING:rule:1 \x00")))
	f.Add(uint16(subsystemConntrack<<8), attribute(ctTupleOrig|0x8000, attribute(ctTupleIP|0x8000, attribute(ctIPv4Src, []byte{10, 4, 4, 19}))))
	f.Fuzz(func(_ *testing.T, kind uint16, body []byte) {
		_, _, _ = decodeMessage(kind, 0, append([]byte{2, 0, 0, 0}, body...))
		_, _, _ = parseFrame(body)
		parseTunnel(body)
	})
}
