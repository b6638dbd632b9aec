// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"strconv"
	"strings"
)

// String is the device as ip prints it, without the last line's end.
func (k *Link) String() string {
	var b strings.Builder
	k.write(&b)
	return strings.TrimSuffix(b.String(), "\n")
}

func (k *Link) write(b *strings.Builder) {
	k.header(b)
	b.WriteString(k.trail)
	b.WriteByte('\n')
	var lines []string
	if k.Type != "" {
		lines = append(lines, k.hardwareLine())
	}
	if k.Kind != "" {
		lines = append(lines, k.kindLine())
	}
	for i := range k.Addrs {
		var a strings.Builder
		k.Addrs[i].write(&a)
		lines = append(lines, a.String())
	}
	if len(lines)+len(k.Lines) > 0 {
		weave(b, lines, k.Lines, "\n")
		b.WriteByte('\n')
	}
}

func (k *Link) header(b *strings.Builder) {
	name := k.Name
	if k.Peer != "" {
		name += "@" + k.Peer
	}
	g := []string{strconv.Itoa(k.Index) + ": " + name + ": <" + strings.Join(k.Flags, ",") + ">"}
	if k.MTU != 0 {
		g = append(g, "mtu "+decimal(k.MTU))
	}
	if k.Master != "" {
		g = append(g, "master "+k.Master)
	}
	if k.State != "" {
		g = append(g, "state "+k.State)
	}
	weave(b, g, k.Extra, " ")
}

func (k *Link) hardwareLine() string {
	g := []string{"link/" + k.Type}
	if k.MAC != "" || len(k.HWExtra) > 0 {
		g[0] += " " + k.MAC // without an address there are two blanks
	}
	if k.PeerNetns != "" {
		word := k.netns
		if word == "" {
			word = "link-netnsid"
		}
		g = append(g, word+" "+k.PeerNetns)
	}
	var b strings.Builder
	b.WriteString("    ")
	weave(&b, g, k.HWExtra, " ")
	b.WriteString(k.hwTrail)
	return b.String()
}

func (k *Link) kindLine() string {
	g := []string{k.Kind}
	if t := k.Tunnel; t != nil {
		g = t.words(g, k.Kind)
	}
	var b strings.Builder
	b.WriteString("    ")
	weave(&b, g, k.KindExtra, " ")
	b.WriteString(k.kndTrail)
	return b.String()
}

// words appends the tunnel's options in ip's order, which differs between the two kinds.
func (t *Tunnel) words(g []string, kind string) []string {
	g = append(g, "id "+decimal(t.VNI))
	if t.Remote.IsValid() {
		g = append(g, "remote "+t.Remote.String())
	}
	port := "dstport " + strconv.Itoa(int(t.Port))
	if kind == "vxlan" && t.Port != 0 {
		g = append(g, port)
	}
	if t.TTL != "" {
		g = append(g, "ttl "+t.TTL)
	}
	if kind != "vxlan" && t.Port != 0 {
		g = append(g, port)
	}
	if t.NoUDPChecksum {
		g = append(g, "noudpcsum")
	}
	if t.ZeroChecksum6Rx {
		g = append(g, "udp6zerocsumrx")
	}
	return g
}
