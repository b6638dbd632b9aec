// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"slices"
	"strings"
)

// strange is a random world with rules that the engine does not model, or whose
// outcome no dump tells: it has to say so, and be right about all other packets.
func strange(seed uint64) (World, *scene, error) {
	w, s, err := random(seed)
	w.Name = fmt.Sprintf("strange world %d", seed)
	for i := range w.Tables {
		t := &w.Tables[i]
		for range s.between(1, 3) {
			if line := s.strangeLine(t.Name); line != "" {
				t.Rules = slices.Insert(t.Rules, s.IntN(len(t.Rules)+1), line)
			}
		}
	}
	return w, s, err
}

func (s *scene) strangeLine(table string) string {
	var places []family
	for _, f := range families() {
		if f.spot.table == table {
			places = append(places, f)
		}
	}
	f := pick(s.dice, places...)
	words := "-A " + f.roots[0]
	if s.chance(2) {
		words += " -s " + pick(s.dice, s.near...).String() + "/24"
	}
	protocol := pick(s.dice, "", "tcp", "udp")
	if protocol != "" {
		words += " -p " + protocol
	}
	if s.chance(3) {
		return words + " " + s.strangeTarget(f, protocol)
	}
	return words + " " + s.strangeMatch(f) + " " + s.target(f.spot, protocol, nil)
}

func (s *scene) strangeMatch(f family) string {
	list := []string{
		"-m length --length 0:45", "-m ttl --ttl-gt 10", "-m tos --tos 0x10/0xff", "-m dscp --dscp 4", "-m pkttype --pkt-type broadcast",
		"-m limit --limit 3/min --limit-burst 2", "-m recent --set --name seen --mask 255.255.255.255 --rsource",
		`-m u32 --u32 "0x6&0xff=0x6"`, "-m connbytes --connbytes 2 --connbytes-mode packets --connbytes-dir both",
		"-m connlimit --connlimit-above 1 --connlimit-mask 32 --connlimit-saddr", "-m helper --helper ftp", "-m ecn --ecn-ip-ect 0",
		"-m quota --quota 200", "-m statistic --mode random --probability 0.5", "-m cpu --cpu 0", "-m time --timestart 00:00:00 --timestop 12:00:00",
		"-m conntrack --ctproto 6", "-m conntrack --ctstatus SEEN_REPLY,CONFIRMED", "-m string --string abc --algo bm --to 65535",
		"-m hashlimit --hashlimit-upto 2/min --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name h",
	}
	if f.spot.before {
		list = append(list, "-m mac --mac-source 02:00:00:00:00:00")
		if f.spot.table == "mangle" {
			list = append(list, "-m rpfilter --loose", "-m rpfilter --validmark --invert")
		}
	}
	return pick(s.dice, list...)
}

func (s *scene) strangeTarget(f family, protocol string) string {
	list := []string{"-j NFLOG --nflog-group 9", "-j CLASSIFY --set-class 1:1", "-j NFQUEUE --queue-num 9 --queue-bypass"}
	switch f.spot.table {
	case "raw":
		list = []string{"-j TRACE", "-j CT --zone 3", "-j NFLOG --nflog-group 9"}
	case "mangle":
		list = append(list, "-j TOS --set-tos 0x10/0xff", "-j DSCP --set-dscp 0x04", "-j TTL --ttl-set 9")
		if protocol == "tcp" {
			list = append(list, "--tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000")
		}
	case "nat":
		low := s.host()
		span := fmt.Sprintf("%s-%s", low, later(low, s.between(1, 3)))
		switch {
		case f.spot.before || f.spot.sender:
			list = []string{"-j DNAT --to-destination " + span, "-j NETMAP --to 10.77.0.0/24"}
		case f.spot.out:
			list = []string{"-j SNAT --to-source " + span, "-j SNAT --to-source " + low.String() + " --random-fully", "-j MASQUERADE --random"}
		default:
			list = []string{"-j SNAT --to-source " + span}
		}
	}
	if !strings.Contains("mangle", f.spot.table) && f.spot.table != "nat" {
		list = slices.DeleteFunc(list, func(t string) bool { return strings.Contains(t, "CLASSIFY") })
	}
	if f.spot.table == "mangle" && !f.spot.out {
		list = slices.DeleteFunc(list, func(t string) bool { return strings.Contains(t, "CLASSIFY") || strings.Contains(t, "TCPMSS") })
	}
	return pick(s.dice, list...)
}
