// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var values = cmp.Options{
	cmpopts.IgnoreUnexported(Rule{}, Route{}, Nexthop{}, Link{}, Addr{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func TestRuleValues(t *testing.T) {
	all := ^uint32(0)
	p := netip.MustParsePrefix
	for line, want := range map[string]Rule{
		"0:\tfrom all lookup local":                                          {Action: "lookup", Table: TableLocal},
		"100:    from all fwmark 0x200/0x200 goto 32766":                     {Priority: 100, Mark: 0x200, Mask: 0x200, Action: "goto", Goto: 32766},
		"5:\tnot from 10.0.0.0/8 to 10.1.1.1 fwmark 0x7 lookup main":         {Priority: 5, Not: true, From: p("10.0.0.0/8"), To: p("10.1.1.1/32"), Mark: 7, Mask: all, Action: "lookup", Table: TableMain},
		"5:\tfrom all fwmark 0/0x20 lookup 100":                              {Priority: 5, Mask: 0x20, Action: "lookup", Table: 100},
		"5:\tfrom all tos 0x10 iif a oif b [detached] lookup default":        {Priority: 5, TOS: 16, IIF: "a", OIF: "b", OIFDetached: true, Action: "lookup", Table: TableDefault},
		"5:\tfrom all uidrange 0-1000 lookup 8":                              {Priority: 5, UIDs: &UIDRange{0, 1000}, Action: "lookup", Table: 8},
		"5:\tfrom all ipproto tcp sport 80 dport 1000-2000 lookup 9":         {Priority: 5, Protocol: 6, SPort: [2]uint16{80, 80}, DPort: [2]uint16{1000, 2000}, Action: "lookup", Table: 9},
		"5:\tfrom all ipproto ipproto-99 lookup 9":                           {Priority: 5, Protocol: 99, Action: "lookup", Table: 9},
		"5:\tfrom all lookup [l3mdev-table]":                                 {Priority: 5, Action: "lookup", L3MDev: true},
		"5:\tfrom all goto 40000 [unresolved]":                               {Priority: 5, Action: "goto", Goto: 40000, Unresolved: true},
		"5:\tfrom 1.2.3.4 blackhole":                                         {Priority: 5, From: p("1.2.3.4/32"), Action: "blackhole"},
		"5:\tfrom all tun_id 5 lookup 3":                                     {Priority: 5, Action: "lookup", Table: 3, Extra: []Word{{1, "tun_id 5"}}},
		"5:\tfrom 1.1.1.1 lookup 12 realms 3/4":                              {Priority: 5, From: p("1.1.1.1/32"), Action: "lookup", Table: 12, Extra: []Word{{2, "realms 3/4"}}},
		"5:\tfrom all lookup 4294967295 proto kernel":                        {Priority: 5, Action: "lookup", Table: all, Extra: []Word{{2, "proto kernel"}}},
		"5:\tfrom 2001:db8::/32 iif d1 lookup 100":                           {Priority: 5, From: p("2001:db8::/32"), IIF: "d1", Action: "lookup", Table: 100},
		"5:\tfrom all iif lookup lookup 100":                                 {Priority: 5, IIF: "lookup", Action: "lookup", Table: 100},
		"5:\tfrom all lookup main suppress_ifgroup 3":                        {Priority: 5, Action: "lookup", Table: TableMain, Extra: []Word{{2, "suppress_ifgroup 3"}}},
		"5:\tfrom all dport 1 sport 2 to 1.1.1.1 tun_id 5 from all lookup 1": {Priority: 5, To: p("1.1.1.1/32"), SPort: [2]uint16{2, 2}, DPort: [2]uint16{1, 1}, Action: "lookup", Table: 1, Extra: []Word{{4, "tun_id 5"}}},
	} {
		got, err := ParseRules("", line)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want.Line, want.SuppressPrefix = 1, -1
		if d := cmp.Diff(want, *got[0], values); d != "" {
			t.Errorf("%s (-want +got):\n%s", line, d)
		}
	}
}

func TestSuppress(t *testing.T) {
	got, err := ParseRules("", "5:\tfrom all lookup main suppress_prefixlength 0 \n")
	if err != nil || got[0].SuppressPrefix != 0 {
		t.Fatal(got, err)
	}
}

// A condition that is not modelled must not go unnoticed.
func TestConditions(t *testing.T) {
	for line, want := range map[string]string{
		"5:\tfrom all tun_id 5 lookup 3":           "tun_id 5",
		"5:\tfrom all flowlabel 0x7 iif a nop":     "flowlabel 0x7",
		"5:\tfrom all sport 0x50/0xff lookup 3":    "sport 0x50/0xff",
		"5:\tfrom all ipproto hopopt tos AF11 nop": "ipproto hopopt tos AF11",
		"5:\tfrom all lookup 3 realms 3/4":         "",
		"5:\tfrom all lookup main proto kernel":    "",
		"5:\tfrom all iif a lookup 3 proto kernel": "",
	} {
		got, err := ParseRules("", line)
		if err != nil || strings.Join(got[0].Conditions(), ",") != want {
			t.Errorf("%s: %v, %v", line, got[0].Conditions(), err)
		}
	}
}

func TestRulesChanged(t *testing.T) {
	all, err := ParseRules("", fixtures(t, "rule")["listing-02"])
	if err != nil {
		t.Fatal(err)
	}
	all[1].Mask = 0x220
	all[2].Table = 102
	all = append(all[:3], all[4:]...)
	all = append(all, &Rule{Priority: 40000, Action: "lookup", Table: 7, SuppressPrefix: -1})
	want := `0:      from all lookup local
100:    from all fwmark 0x200/0x220 goto 32766
101:    from all fwmark 0x100/0x100 lookup 102
103:    from all lookup 100
32766:  from all lookup main
32767:  from all lookup default
40000:	from all lookup 7
`
	// Listing 02 has no end of its last line.
	if got := PrintRules(all); strings.ReplaceAll(got, "default40000", "default\n40000") != want {
		t.Errorf("%s", got)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		parse      func(string) (records, error)
		text, want string
	}{
		{rules, "0:\tfrom all lookup local\nfrom all", "f:2:1: no rule: a priority and a colon are expected"},
		{rules, "x:\tfrom all", `f:1:1: no priority: "x"`},
		{rules, "1:\tfrom 10.0.0.300 lookup 1", `f:1:9: "10.0.0.300" is no value for "from"`},
		{rules, "1:\tfrom all fwmark 0xg lookup 1", `f:1:20: "0xg" is no value for "fwmark"`},
		{rules, "1:\tfrom all lookup", `f:1:19: "" is no value for "lookup"`},
		{rules, "1:\tfrom all dport", `f:1:18: "dport" has no value`},
		{routes, "10.0.0.0/8 dev a\nwhat ever", `f:2:1: no route: "what" is neither a prefix nor a type of routes`},
		{routes, "10.0.0.0/8 via x dev a", `f:1:16: "x" is no address of a gateway`},
		{routes, "10.0.0.0/8 dev", `f:1:15: a device's name is expected`},
		{routes, "10.0.0.0/8\n\tnexthop via y", `f:2:14: "y" is no address of a gateway`},
		{links, "eth0: <UP>", `f:1:1: no device: its number and a colon are expected`},
		{links, "1: eth0 <UP>", `f:1:4: a device's name and a colon are expected`},
		{links, "1: eth0: UP", `f:1:10: a device's flags are expected, such as <UP,LOWER_UP>`},
		{links, "1: eth0: <UP>\n    inet 10.0.0.1.2/8", `f:2:10: "10.0.0.1.2/8" is no address`},
	} {
		if _, err := c.parse(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}
