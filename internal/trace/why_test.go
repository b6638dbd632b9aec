// SPDX-License-Identifier: Apache-2.0

package trace

import "testing"

// TestWhyNot has one rule that does not match, and what is said of it. The packet is
// TCP from 10.1.0.5:1000 to 10.2.0.5:80 with mark 0x7, in by a, out by b.
func TestWhyNot(t *testing.T) {
	for condition, want := range map[string]string{
		"-p udp":                                   "protocol tcp is not udp",
		"! -p tcp":                                 "protocol tcp is tcp",
		"-s 10.9.0.0/16":                           "source 10.1.0.5 is not in 10.9.0.0/16",
		"! -s 10.1.0.5/32":                         "source 10.1.0.5 is 10.1.0.5",
		"-d 10.2.0.6/32":                           "destination 10.2.0.5 is not 10.2.0.6",
		"! -d 10.0.0.0/8":                          "destination 10.2.0.5 is in 10.0.0.0/8",
		"-i b":                                     "came in by a, not b",
		"! -i a":                                   "came in by a",
		"-o c+":                                    "goes out by b, not c+",
		"-f":                                       "not a later fragment",
		"-p tcp -m tcp --dport 81":                 "destination port 80 is not 81",
		"-p tcp -m tcp --dport 81:90":              "destination port 80 is not in 81:90",
		"-p tcp -m tcp ! --sport 1000":             "source port 1000 is 1000",
		"-p tcp -m tcp --tcp-flags SYN,ACK ACK":    "the TCP flags SYN do not fit",
		"-p tcp -m multiport --dports 1,2":         "destination port 80 is not among 1,2",
		"-p tcp -m multiport ! --ports 80":         "port 1000 or 80 is among 80",
		"-m mark --mark 0x100/0x100":               "mark 0x7 & 0x100 is not 0x100",
		"-m mark --mark 0x8":                       "mark 0x7 is not 0x8",
		"-m mark ! --mark 0x1/0x1":                 "mark 0x7 & 0x1 is 0x1",
		"-m connmark --mark 0x220/0x220":           "connection's mark 0x0 & 0x220 is not 0x220",
		"-m set --match-set pods src":              "source 10.1.0.5 is not in set pods",
		"-m set ! --match-set nets dst":            "destination 10.2.0.5 is in set nets",
		"-m set --match-set ports dst,dst":         "destination 10.2.0.5, port 80 is not in set ports",
		"-m conntrack --ctstate INVALID":           "the connection's state NEW is not INVALID",
		"-m conntrack ! --ctstate NEW,ESTABLISHED": "the connection's state NEW is one of NEW,ESTABLISHED",
		"-m addrtype --dst-type LOCAL":             "destination 10.2.0.5 is not LOCAL",
		"-m owner --uid-owner 1337":                "no local process sends it",
		"-m physdev --physdev-is-bridged":          "no bridge's port is involved",
		"-m iprange --src-range 10.1.0.6-10.1.0.9": "source 10.1.0.5 is not in 10.1.0.6-10.1.0.9",
		"-m rpfilter --invert":                     "the way back to 10.1.0.5 is by a",
		"-m comment --comment \"x y\" -s 1.2.3.4":  "source 10.1.0.5 is not 1.2.3.4",
	} {
		t.Run(condition, func(t *testing.T) {
			r := router()
			r.sets = "create pods hash:ip family inet\ncreate nets hash:net family inet\nadd nets 10.0.0.0/8\ncreate ports hash:ip,port family inet\n"
			r.legacy = withRules("filter", "-A FORWARD "+condition+" -j DROP\n")
			w := receive(r.space(t), tcp("10.1.0.5:1000", "10.2.0.5:80").via("a").marked(7), nil)
			for i := range w.Steps {
				if s := &w.Steps[i]; s.Kind == StepRule && s.Chain == "FORWARD" && s.Why() == want {
					return
				}
			}
			t.Errorf("nobody said %q\n%s", want, w.story())
		})
	}
}
