// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// TestRulesAreUnderstood looks at what the model says of a rule.
func TestRulesAreUnderstood(t *testing.T) {
	seven := PortRange{7, 7}
	tests := []struct {
		line    string
		matches []Match
		target  Target
	}{
		{"-A X", nil, nil},
		{"-A X -s 10.0.0.0/8 ! -d 10.1.2.3/32 -j ACCEPT", []Match{
			Source{Addr: addr("10.0.0.0"), Prefix: netip.MustParsePrefix("10.0.0.0/8")},
			Destination{Not: true, Addr: addr("10.1.2.3"), Prefix: netip.MustParsePrefix("10.1.2.3/32")},
		}, Verdict{"ACCEPT"}},
		{"-A X -s ! 10.0.0.0/255.255.0.0 -j DROP", []Match{
			Source{Not: true, NotAfter: true, Addr: addr("10.0.0.0"), Prefix: netip.MustParsePrefix("10.0.0.0/16"), Mask: addr("255.255.0.0")},
		}, Verdict{"DROP"}},
		{"-A X -s 10.0.0.9", []Match{
			Source{Addr: addr("10.0.0.9"), Prefix: netip.MustParsePrefix("10.0.0.9/32"), Bare: true},
		}, nil},
		{"-A X -s fd00::/64 ! -p ipv6-icmp", []Match{
			Source{Addr: addr("fd00::"), Prefix: netip.MustParsePrefix("fd00::/64")},
			Protocol{Not: true, Name: "ipv6-icmp", Number: 58},
		}, nil},
		{"-A X ! -i veth1 -o eth+", []Match{InInterface{Not: true, Name: "veth1"}, OutInterface{Name: "eth+"}}, nil},
		{"-A X -i ! veth1", []Match{InInterface{Not: true, NotAfter: true, Name: "veth1"}}, nil},
		{"-A X -p 6 -m tcp ! --dport 7 -j RETURN", []Match{
			Protocol{Name: "6", Number: 6}, Ports{Module: "tcp", Dest: &seven, NotDest: true},
		}, Verdict{"RETURN"}},
		{"-A X -p tcp --dport 7 -j RETURN", []Match{Protocol{Name: "tcp", Number: 6}, Ports{Dest: &seven}}, Verdict{"RETURN"}},
		{"-A X -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", []Match{
			Protocol{Name: "tcp", Number: 6}, Ports{Module: "tcp", FlagMask: 0x17, FlagSet: 0x02},
		}, nil},
		{"-A X -m multiport ! --dports 1,2:3", []Match{Multiport{Not: true, Option: "dports", Ranges: []PortRange{{1, 1}, {2, 3}}}}, nil},
		{"-A X -m mark ! --mark 0x1/0xff", []Match{Mark{Not: true, Value: 1, Mask: 0xff}}, nil},
		{"-A X -m connmark --mark 0x220/0x220", []Match{Connmark{Value: 0x220, Mask: 0x220}}, nil},
		{"-A X -m mark --mark 0x00000400/0x00000400", []Match{Mark{Value: 0x400, Mask: 0x400, Wide: true}}, nil},
		{"-A X -m set ! --match-set s src,dst", []Match{Set{Not: true, Name: "s", Directions: []string{"src", "dst"}}}, nil},
		{`-A X -m comment --comment "a \"b\" \\ c"`, []Match{Comment{Text: `a "b" \ c`, Quoted: true}}, nil},
		{"-A X -m comment --comment -j -j ACCEPT", []Match{Comment{Text: "-j"}}, Verdict{"ACCEPT"}},
		{"-A X -m state ! --state NEW,RELATED", []Match{State{Module: "state", Not: true, States: []string{"NEW", "RELATED"}}}, nil},
		{"-A X -m owner ! --uid-owner 1337 --gid-owner 1-2", []Match{Owner{UID: "1337", NotUID: true, GID: "1-2"}}, nil},
		{"-A X -p udp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff", []Match{Protocol{Name: "udp", Number: 17}},
			TPROXY{Port: 15001, IP: addr("127.0.0.1"), Value: 0x400, Mask: 0xfff, HasMark: true}},
		{"-A X -j TPROXY --tproxy-mark 0x1/0x1 --on-port 1", nil,
			TPROXY{Port: 1, Value: 1, Mask: 1, HasMark: true, Order: []string{"--tproxy-mark", "--on-port"}}},
		{"-A X -g Y", nil, Jump{Chain: "Y", Goto: true}},
		{"-A X -j MARK --set-xmark 0x40/0x60", nil, SetMark{MarkOp{Option: "set-xmark", Value: 0x40, Mask: 0x60}}},
		{"-A X -j MARK --set-mark 0x40", nil, SetMark{MarkOp{Option: "set-mark", Value: 0x40, Mask: all, NoMask: true}}},
		{"-A X -j MARK --and-mark 0xff", nil, SetMark{MarkOp{Option: "and-mark", Mask: 0xffffff00, NoMask: true}}},
		{"-A X -j MARK --or-mark 0x4", nil, SetMark{MarkOp{Option: "or-mark", Value: 4, Mask: 4, NoMask: true}}},
		{"-A X -j CONNMARK --xor-mark 0x4", nil, SetConnmark{MarkOp{Option: "xor-mark", Value: 4, NoMask: true}}},
		{"-A X -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x210", nil, SaveMark{NFMask: 0x220, CTMask: 0x210}},
		{"-A X -j CONNMARK --restore-mark", nil, RestoreMark{NFMask: all, CTMask: all, NoMasks: true}},
		{"-A X -j CONNMARK --restore-mark --mask 0xff", nil, RestoreMark{NFMask: 0xff, CTMask: 0xff, OneMask: true}},
		{"-A X -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90 --persistent", []Match{Protocol{Name: "tcp", Number: 6}},
			NAT{Kind: "DNAT", To: "10.0.0.1-10.0.0.9:80-90", Low: addr("10.0.0.1"), High: addr("10.0.0.9"), LowPort: 80, HighPort: 90, Rest: []string{"--persistent"}}},
		{"-A X -j DNAT --to-destination [fd00::1]:80", nil,
			NAT{Kind: "DNAT", To: "[fd00::1]:80", Low: addr("fd00::1"), High: addr("fd00::1"), LowPort: 80, HighPort: 80}},
		{"-A X -j REDIRECT --to-ports 15001", nil, NAT{Kind: "REDIRECT", To: "15001", LowPort: 15001, HighPort: 15001}},
		{"-A X -j MASQUERADE --random-fully", nil, NAT{Kind: "MASQUERADE", Rest: []string{"--random-fully"}}},
		{`-A X -j LOG --log-prefix "a b" --log-level 7`, nil,
			Log{Kind: "LOG", Prefix: "a b", Words: []string{"--log-prefix", `"a b"`, "--log-level", "7"}}},
		{"-A X -j CT --notrack", nil, CT{NoTrack: true}},
		{"-A X -j REJECT --reject-with tcp-reset", nil, Reject{With: "tcp-reset"}},
		{"-A X -j ACCEPT -m mark --mark 0x1", []Match{Mark{Value: 1, Mask: all}}, Verdict{"ACCEPT"}},
	}
	for _, test := range tests {
		rule, err := ParseRule(test.line)
		if err != nil {
			t.Errorf("%s: %v", test.line, err)
			continue
		}
		if len(rule.Matches)+len(test.matches) > 0 && !reflect.DeepEqual(rule.Matches, test.matches) {
			t.Errorf("%s:\ngot  %#v\nwant %#v", test.line, rule.Matches, test.matches)
		}
		if !reflect.DeepEqual(rule.Target, test.target) {
			t.Errorf("%s:\ngot  %#v\nwant %#v", test.line, rule.Target, test.target)
		}
		if words := rule.Unmodelled(); words != "" {
			t.Errorf("%s: %q is not understood", test.line, words)
		}
		rule.text = ""
		if got := rule.String(); got != test.line {
			t.Errorf("%s: printed %q", test.line, got)
		}
	}
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// TestUnmodelledWords: what is not understood is kept, and named.
func TestUnmodelledWords(t *testing.T) {
	for line, want := range map[string]string{
		"-A X -m unheard --of 1 -p tcp -j ACCEPT":             "-m unheard --of 1",
		"-A X -m unheard ! --of 1 ! -i eth0 -j ACCEPT":        "-m unheard ! --of 1",
		"-A X -j UNHEARD --of 1":                              "-j UNHEARD --of 1",
		"-A X -s not-an-address/8 -j ACCEPT":                  "-s not-an-address/8",
		"-A X -p bogus -j ACCEPT":                             "-p bogus",
		"-A X -m mark --mark 01/0xff -j ACCEPT":               "-m mark --mark 01/0xff",
		"-A X -m mark --mark 0x1 --more 2 -j ACCEPT":          "-m mark --mark 0x1 --more 2",
		"-A X -m tcp --dport 80 --tcp-option 8":               "--tcp-option 8",
		"-A X -m set --match-set s src --return-nomatch":      "--return-nomatch",
		"-A X -m conntrack --ctstate NEW --ctdir REPLY":       "--ctdir REPLY",
		"-A X -m conntrack --ctstate STRANGE":                 "-m conntrack --ctstate STRANGE",
		"-A X -m owner --suppl-groups --uid-owner 3":          "--suppl-groups --uid-owner 3",
		"-A X -j CT --zone 3":                                 "--zone 3",
		"-A X -j CONNMARK --restore-mark --left-shift-mark 2": "-j CONNMARK --restore-mark --left-shift-mark 2",
		"-A X -j DNAT --to-destination 10.0.0.1:1-9/5":        "-j DNAT --to-destination 10.0.0.1:1-9/5",
		"-A X --dport 80 -j ACCEPT":                           "--dport 80",
		"-A X -j ACCEPT -j DROP":                              "-j DROP",
	} {
		rule, err := ParseRule(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := rule.Unmodelled(); got != want {
			t.Errorf("%s: %q is not understood, want %q", line, got, want)
		}
		if got := rule.String(); got != line {
			t.Errorf("%s: printed %q", line, got)
		}
	}
}

func TestMarks(t *testing.T) {
	set := func(line string) MarkOp {
		rule, err := ParseRule("-A X -j MARK " + line)
		if err != nil {
			t.Fatal(err)
		}
		return rule.Target.(SetMark).MarkOp
	}
	for line, want := range map[string]uint32{
		"--set-xmark 0x200/0x200": 0xf2ff, "--set-xmark 0x4000/0x0": 0xb0ff, "--set-mark 0x1": 1, "--set-mark 0x10/0x30": 0xf0df,
		"--and-mark 0xf": 0xf, "--or-mark 0xf00": 0xffff, "--xor-mark 0xff": 0xf000,
	} {
		if got := set(line).Apply(0xf0ff); got != want {
			t.Errorf("%s makes 0xf0ff %#x, want %#x", line, got, want)
		}
	}
	if got := (SaveMark{NFMask: 0xf0, CTMask: 0xff}).Save(0xabcd, 0x1234); got != 0xab30 {
		t.Errorf("saved %#x, want 0xab30", got)
	}
	if got := (RestoreMark{NFMask: 0xff, CTMask: 0xf0}).Restore(0x1234, 0xabcd); got != 0x12c0 {
		t.Errorf("restored %#x, want 0x12c0", got)
	}
}

func TestAddressesAndDevices(t *testing.T) {
	rule, err := ParseRule("-A X -s 10.0.7.1/255.0.255.0 -d 10.4.4.19/24 -i cali+")
	if err != nil {
		t.Fatal(err)
	}
	source, destination, device := rule.Matches[0].(Source), rule.Matches[1].(Destination), rule.Matches[2].(InInterface)
	checks := map[string]bool{
		"10.200.7.77 is in 10.0.7.1/255.0.255.0":     source.Contains(addr("10.200.7.77")),
		"10.200.8.77 is not in 10.0.7.1/255.0.255.0": !source.Contains(addr("10.200.8.77")),
		"11.0.7.1 is not in 10.0.7.1/255.0.255.0":    !source.Contains(addr("11.0.7.1")),
		"10.4.4.1 is in 10.4.4.19/24":                destination.Contains(addr("10.4.4.1")),
		"10.4.5.1 is not in 10.4.4.19/24":            !destination.Contains(addr("10.4.5.1")),
		"cali12 is cali+":                            device.Matches("cali12"),
		"cali is cali+":                              device.Matches("cali"),
		"eth0 is not cali+":                          !device.Matches("eth0"),
	}
	for what, ok := range checks {
		if !ok {
			t.Error("not so: " + what)
		}
	}
}

func TestErrorsHavePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"*nat\nwhat\n":                   "dump:2:1: neither a table",
		"*nat\n  what\n":                 "dump:2:3: neither a table",
		"*\n":                            "dump:1:2: a table's header",
		":INPUT\n":                       "dump:1:7: a chain is",
		":INPUT ACCEPT [x:0]\n":          "dump:1:15: counters are",
		"*nat\n:X - [0:0]\n:X - [0:0]\n": "dump:3:2: chain X was declared on line 2",
		"-A X -m comment --comment \"open -j X\n": "dump:1:27: a quote is not closed",
		"-A X -s 1.2.3.4 -m\n":                    "dump:1:17: -m needs a module",
		"-A X -j\n":                               "dump:1:6: -j needs a target",
		"-A X -p tcp -i\n":                        "dump:1:13: -i needs a value",
		"-A X ! \n":                               "dump:1:6: ! needs an option",
		"[1:2 -A X\n":                             "dump:1:1: counters are",
		"[1:2] -B X\n":                            "dump:1:7: a rule begins with -A",
		"-N \n":                                   "dump:1:4: a listed chain is",
	} {
		_, err := Parse("dump", text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// TestRuleWithoutCounters: for people a rule is printed without what it has counted.
func TestRuleWithoutCounters(t *testing.T) {
	for line, want := range map[string]string{
		"[1:2] -A X -i lo -j Y ":    "-A X -i lo -j Y",
		"-A X -i lo -c 1 2 -j Y":    "-A X -i lo -j Y",
		"-A X  -i lo -j Y  # there": "-A X -i lo -j Y",
	} {
		rule, err := ParseRule(line)
		if err != nil {
			t.Fatal(err)
		}
		if rule.String() != want || rule.Saved() != line {
			t.Errorf("%q is printed %q and saved %q", line, rule, rule.Saved())
		}
	}
}
