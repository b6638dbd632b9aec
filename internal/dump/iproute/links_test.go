// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseLinks(t *testing.T, name string) map[string]*Link {
	t.Helper()
	all, err := ParseLinks(name, fixtures(t, "link")[name])
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*Link{}
	for _, l := range all {
		byName[l.Name] = l
	}
	return byName
}

func TestGeneve(t *testing.T) {
	out := parseLinks(t, "listing-04")["istioout"]
	want := &Tunnel{VNI: 1001, Remote: netip.MustParseAddr("10.4.4.18"), Port: 6081, TTL: "auto", NoUDPChecksum: true, ZeroChecksum6Rx: true}
	if out.Kind != "geneve" || out.MTU != 1410 || !out.Up() || out.State != "UNKNOWN" || out.MAC != "62:59:1b:ad:79:01" {
		t.Errorf("%+v", out)
	}
	if d := cmp.Diff(want, out.Tunnel, values); d != "" {
		t.Error(d)
	}
	addr := Addr{Prefix: netip.MustParsePrefix("192.168.127.1/30"), Broadcast: netip.MustParseAddr("192.168.127.3"), Scope: "global", Label: "istioout",
		Valid: "forever", Preferred: "forever", Line: 4}
	if d := cmp.Diff(addr, out.Addrs[0], values); d != "" {
		t.Error(d)
	}
}

func TestVXLAN(t *testing.T) {
	in := parseLinks(t, "lab-node-a")["istioin"]
	if in.Kind != "vxlan" || in.Tunnel.VNI != 1000 || in.Tunnel.Port != 6081 || in.Tunnel.TTL != "auto" || in.Tunnel.Remote != netip.MustParseAddr("10.4.4.18") {
		t.Errorf("%+v %+v", in, in.Tunnel)
	}
}

func TestLinkValues(t *testing.T) {
	l := parseLinks(t, "all-kinds")
	if l["d1"].Peer != "d2" || l["d1"].Kind != "veth" || l["lo"].Type != "loopback" || l["lo"].Kind != "" || l["br0"].Kind != "bridge" {
		t.Errorf("%+v", l["d1"])
	}
	if !strings.HasPrefix(l["ve"].PeerNetns, "peer-") || l["ve"].Peer != "if2" || l["tun7"].Type != "none" || l["tun7"].Kind != "tun" {
		t.Errorf("%+v", l["ve"])
	}
	if a := l["d1"].Addrs[1]; a.Prefix != netip.MustParsePrefix("10.3.0.1/32") || a.Peer != netip.MustParsePrefix("10.3.0.2/32") {
		t.Errorf("%+v", a)
	}
	if a := l["d1"].Addrs[2]; strings.Join(a.Flags, " ") != "secondary deprecated dynamic" || !strings.HasSuffix(a.Valid, "sec") || a.Label != "d1" {
		t.Errorf("%+v", a)
	}
	if a := l["d1"].Addrs[0]; a.Label != "d1:x" {
		t.Errorf("%+v", a)
	}
	eth0 := parseLinks(t, "listing-05")["eth0"]
	if eth0.PeerNetns != "0" || eth0.Addresses()[0] != netip.MustParseAddr("10.4.2.1") {
		t.Errorf("%+v", eth0)
	}
}

func TestLinksChanged(t *testing.T) {
	all, err := ParseLinks("", fixtures(t, "link")["listing-04"])
	if err != nil {
		t.Fatal(err)
	}
	all[0].MTU, all[0].Tunnel.Remote, all[0].Tunnel.NoUDPChecksum = 1400, netip.MustParseAddr("10.4.4.99"), false
	all[0].Addrs = all[0].Addrs[:1]
	want := `24: istioout: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UNKNOWN group default
    link/ether 62:59:1b:ad:79:01 brd ff:ff:ff:ff:ff:ff
    geneve id 1001 remote 10.4.4.99 ttl auto dstport 6081 udp6zerocsumrx numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535
    inet 192.168.127.1/30 brd 192.168.127.3 scope global istioout
       valid_lft forever preferred_lft forever
`
	if got := PrintLinks(all); got != want {
		t.Errorf("%s", cmp.Diff(want, got))
	}
}
