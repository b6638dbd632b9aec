// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"maps"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/nft"
)

// router is a namespace with two devices and what a test adds.
func router() texts {
	sysctls := map[string]string{"net.ipv4.ip_forward": "1"}
	for _, dev := range []string{"all", "lo", "a", "b"} {
		for _, key := range []string{"rp_filter", "accept_local", "route_localnet", "src_valid_mark", "send_redirects"} {
			sysctls["net.ipv4.conf."+dev+"."+key] = "0"
		}
	}
	return texts{
		routes: `10.1.0.0/16 dev a proto kernel scope link src 10.1.0.1
10.2.0.0/16 dev b proto kernel scope link src 10.2.0.1
default via 10.2.0.254 dev b
`,
		links: `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
2: a: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    inet 10.1.0.1/16 brd 10.1.255.255 scope global a
    inet 10.1.0.2/16 brd 10.1.255.255 scope global secondary a
3: b: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    inet 10.2.0.1/16 brd 10.2.255.255 scope global b
`,
		sysctls: sysctls,
	}
}

// withRules are iptables rules of one table; built-in chains are declared, "X" and
// "Y" too.
func withRules(table, rules string) string {
	b := "*" + table + "\n"
	for _, c := range hookNames {
		b += ":" + c + " ACCEPT [0:0]\n"
	}
	return b + ":X - [0:0]\n:Y - [0:0]\n" + rules + "COMMIT\n"
}

func (x texts) with(rules string, sysctls ...string) texts {
	x.rules = rules
	x.sysctls = maps.Clone(x.sysctls)
	for _, s := range sysctls {
		key, value, _ := strings.Cut(s, "=")
		x.sysctls[key] = value
	}
	return x
}

// TestChains walks chains with little rule sets. The packet comes in by a and goes
// on to b.
func TestChains(t *testing.T) {
	for name, x := range map[string]struct{ table, rules, want string }{
		"returns to the caller":                {"mangle", "-A FORWARD -j X\n-A FORWARD -j MARK --set-xmark 0x2/0x2\n-A X -j RETURN\n-A X -j DROP\n", "verdict=sent mark=0x2"},
		"a chain's end returns":                {"mangle", "-A FORWARD -j X\n-A FORWARD -j MARK --set-xmark 0x2/0x2\n-A X -s 9.9.9.9/32 -j DROP\n", "verdict=sent mark=0x2"},
		"goto does not come back":              {"mangle", "-A FORWARD -g X\n-A FORWARD -j DROP\n-A X -j MARK --set-xmark 0x2/0x2\n", "verdict=sent mark=0x2"},
		"goto from a user's chain skips it":    {"mangle", "-A FORWARD -j X\n-A FORWARD -j MARK --set-xmark 0x2/0x2\n-A X -g Y\n-A X -j DROP\n-A Y -j RETURN\n", "verdict=sent mark=0x2"},
		"RETURN in a built-in chain":           {"mangle", "-A FORWARD -j RETURN\n-A FORWARD -j DROP\n", "verdict=sent"},
		"accept leaves the table only":         {"mangle", "-A FORWARD -j ACCEPT\n-A POSTROUTING -j DROP\n", "verdict=dropped"},
		"reject":                               {"filter", "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset\n", "verdict=rejected"},
		"a rule without a target":              {"filter", "-A FORWARD -p tcp\n", "verdict=sent"},
		"LOG goes on":                          {"filter", "-A FORWARD -j LOG --log-prefix \"x \"\n-A FORWARD -j DROP\n", "verdict=dropped"},
		"and-mark":                             {"mangle", "-A PREROUTING -j MARK --set-xmark 0xff/0xffffffff\n-A PREROUTING -j MARK --and-mark 0xf\n", "mark=0xf"},
		"xor-mark":                             {"mangle", "-A PREROUTING -j MARK --set-xmark 0xff/0xffffffff\n-A PREROUTING -j MARK --xor-mark 0xf\n", "mark=0xf0"},
		"a mark outside its mask never fits":   {"mangle", "-A FORWARD -m mark --mark 0x3/0x1 -j DROP\n", "verdict=sent"},
		"a negated mark outside its mask fits": {"mangle", "-A FORWARD -m mark ! --mark 0x3/0x1 -j DROP\n", "verdict=dropped"},
		"save and restore":                     {"mangle", "-A PREROUTING -j MARK --set-xmark 0x123/0xffffffff\n-A PREROUTING -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xffffffff\n-A FORWARD -j CONNMARK --restore-mark --nfmask 0xf00 --ctmask 0xf0\n", "mark=0x3 connmark=0x23"},
		"raw has no connection yet":            {"raw", "-A PREROUTING -m conntrack --ctstate INVALID -j DROP\n", "verdict=dropped"},
		"not tracked":                          {"raw", "-A PREROUTING -j CT --notrack\n", "verdict=sent state=UNTRACKED"},
		"connmark of nothing is nothing":       {"raw", "-A PREROUTING -m connmark ! --mark 0x7 -j DROP\n", "verdict=sent"},
		"a jump to a chain that is not there":  {"filter", "-A FORWARD -j GONE\n", "verdict=unknown doubts=1"},
		"an unknown target":                    {"filter", "-A FORWARD -j NFQUEUE --queue-num 1\n", "verdict=unknown"},
		"an unknown target for others":         {"filter", "-A FORWARD -p udp -j NFQUEUE --queue-num 1\n", "verdict=sent doubts=0"},
		"an unknown condition that decides":    {"filter", "-A FORWARD -m time --timestart 10:00:00 -j DROP\n", "verdict=unknown doubts=1"},
		"an unknown condition that does not":   {"filter", "-A FORWARD -m time --timestart 10:00:00 -j ACCEPT\n", "verdict=sent doubts=1"},
		"an unknown condition, another fails":  {"filter", "-A FORWARD -m time --timestart 10:00:00 -p udp -j DROP\n", "verdict=sent doubts=0"},
		"an unknown condition of a LOG":        {"filter", "-A FORWARD -m time --timestart 10:00:00 -j LOG\n", "verdict=sent doubts=0"},
		"two unknown ones, alike together":     {"filter", "-A FORWARD -m time --timestart 10:00:00 -j RETURN\n-A FORWARD -m string --string x --algo bm -j ACCEPT\n", "verdict=sent doubts=2"},
		"a limit is not reached":               {"filter", "-A FORWARD -m limit --limit 5/min -j DROP\n", "verdict=dropped doubts=1"},
		"owner, forwarded":                     {"mangle", "-A POSTROUTING -m owner --uid-owner 0 -j DROP\n", "verdict=sent"},
		"not owner, forwarded":                 {"mangle", "-A POSTROUTING -m owner ! --uid-owner 5 -j DROP\n", "verdict=dropped"},
		"a wildcard device":                    {"filter", "-A FORWARD -i a+ -o b+ -j DROP\n", "verdict=dropped"},
		"a mask that is no prefix":             {"filter", "-A FORWARD -s 10.0.0.5/255.0.0.255 -j DROP\n", "verdict=dropped"},
		"multiport":                            {"filter", "-A FORWARD -p tcp -m multiport --dports 22,79:81 -j DROP\n", "verdict=dropped"},
		"not multiport":                        {"filter", "-A FORWARD -p tcp -m multiport ! --dports 22,79:81 -j DROP\n", "verdict=sent"},
		"flags":                                {"filter", "-A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP\n", "verdict=dropped"},
		"a broadcast address type":             {"filter", "-A FORWARD -m addrtype --src-type UNICAST --dst-type UNICAST -j DROP\n", "verdict=dropped"},
		"a local address type":                 {"filter", "-A FORWARD -m addrtype ! --dst-type LOCAL -j DROP\n", "verdict=dropped"},
		"bridge's ports are not involved":      {"filter", "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n-A FORWARD -m physdev ! --physdev-is-bridged -j DROP\n", "verdict=dropped"},
		"the way back is another device":       {"raw", "-A PREROUTING -m rpfilter --invert -j DROP\n", "verdict=sent doubts=0"},
		"the way back is this device":          {"raw", "-A PREROUTING -m rpfilter --validmark -j DROP\n", "verdict=dropped doubts=0"},
		"DSCP does not matter":                 {"mangle", "-A PREROUTING -j DSCP --set-dscp 0x01\n", "verdict=sent doubts=0"},
		"a copy is sent elsewhere":             {"mangle", "-A PREROUTING -j TEE --gateway 10.1.0.9\n", "verdict=sent doubts=1"},
		"nth, the first":                       {"filter", "-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j DROP\n", "verdict=dropped doubts=1"},
		"nth, the second":                      {"filter", "-A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP\n", "verdict=sent doubts=1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := router()
			r.legacy = withRules(x.table, x.rules)
			receive(r.space(t), tcp("10.1.0.5:1000", "10.2.0.5:80").via("a"), nil).want(t, x.want)
		})
	}
}

// TestRouting is about ip rules, tables and source validation.
func TestRouting(t *testing.T) {
	base := "0:\tfrom all lookup local\n"
	end := "32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
	for name, x := range map[string]struct {
		rules, routes string
		sysctl        string
		packet        Packet
		want          string
	}{
		"to b":                               {packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "verdict=sent out=b"},
		"the default's gateway":              {packet: tcp("10.1.0.5:1", "10.9.0.5:2").via("a"), want: "verdict=sent out=b via=10.2.0.254"},
		"local":                              {packet: tcp("10.1.0.5:1", "10.2.0.1:2").via("a"), want: "verdict=delivered"},
		"by a mark":                          {rules: "10:\tfrom all fwmark 0x1/0xff lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a").marked(0x101), want: "out=a"},
		"not by a mark":                      {rules: "10:\tnot from all fwmark 0x1/0xff lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a").marked(0x2), want: "out=a"},
		"goto":                               {rules: "10:\tfrom all goto 32766\n11:\tfrom all lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"goto nowhere":                       {rules: "10:\tfrom all goto 500 [unresolved]\n11:\tfrom all lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=a"},
		"nop":                                {rules: "10:\tfrom all nop\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"throw":                              {rules: "10:\tfrom all lookup 7\n", routes: "throw 10.2.0.0/24 table 7\ndefault dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"unreachable rule":                   {rules: "10:\tfrom 10.1.0.5 unreachable\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "verdict=rejected"},
		"blackhole rule":                     {rules: "10:\tfrom 10.1.0.5 blackhole\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "verdict=dropped"},
		"prohibit route":                     {routes: "prohibit 10.2.0.5\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "verdict=rejected"},
		"iif lo is what is sent from here":   {rules: "10:\tfrom all iif lo lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"a detached device":                  {rules: "10:\tfrom all iif gone [detached] lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"suppressed default":                 {rules: "10:\tfrom all lookup main suppress_prefixlength 0\n11:\tfrom all lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.9.0.5:2").via("a"), want: "out=a"},
		"not suppressed":                     {rules: "10:\tfrom all lookup main suppress_prefixlength 0\n11:\tfrom all lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"by port":                            {rules: "10:\tfrom all ipproto tcp dport 2 lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=a"},
		"by another port":                    {rules: "10:\tfrom all ipproto tcp dport 5-9 lookup 7\n", routes: "default dev a table 7\n", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "out=b"},
		"the lower metric":                   {routes: "10.3.0.0/16 dev a metric 20\n10.3.0.0/16 dev b metric 10\n", packet: tcp("10.1.0.5:1", "10.3.0.5:2").via("a"), want: "out=b"},
		"a dead route":                       {routes: "10.3.0.0/16 dev b metric 10 dead linkdown\n10.3.0.0/16 dev a metric 20\n", packet: tcp("10.1.0.5:1", "10.3.0.5:2").via("a"), want: "out=a"},
		"a route whose link is down is used": {routes: "10.3.0.0/16 dev b metric 10 linkdown\n10.3.0.0/16 dev a metric 20\n", packet: tcp("10.1.0.5:1", "10.3.0.5:2").via("a"), want: "out=b"},
		"unless it is to be ignored":         {routes: "10.3.0.0/16 dev b metric 10 linkdown\n10.3.0.0/16 dev a metric 20\n", sysctl: "net.ipv4.conf.b.ignore_routes_with_linkdown=1", packet: tcp("10.1.0.5:1", "10.3.0.5:2").via("a"), want: "out=a"},
		"a gateway that is our own is none":  {routes: "10.3.0.0/16 via 10.2.0.1 dev b\n", packet: tcp("10.1.0.5:1", "10.3.0.5:2").via("a"), want: "out=b via= doubts=0"},
		"two ways":                           {routes: "10.3.0.0/16\n\tnexthop via 10.1.0.9 dev a weight 1\n\tnexthop via 10.2.0.9 dev b weight 1\n", packet: tcp("10.1.0.5:1", "10.3.0.5:2").via("a"), want: "verdict=unknown doubts=1"},
		"no route":                           {rules: "10:\tfrom all lookup 7\n11:\tfrom all lookup local\n", routes: "", packet: tcp("10.1.0.5:1", "10.9.0.5:2").via("a"), want: "verdict=sent"},
		"own source":                         {packet: tcp("10.2.0.1:1", "10.2.0.5:2").via("a"), want: "verdict=martian"},
		"own source accepted":                {sysctl: "net.ipv4.conf.a.accept_local=1", packet: tcp("10.2.0.1:1", "10.2.0.5:2").via("a"), want: "verdict=sent"},
		"strict, wrong device":               {sysctl: "net.ipv4.conf.all.rp_filter=1", packet: tcp("10.2.0.7:1", "10.2.0.5:2").via("a"), want: "verdict=martian"},
		"strict, right device":               {sysctl: "net.ipv4.conf.a.rp_filter=1", packet: tcp("10.1.0.7:1", "10.2.0.5:2").via("a"), want: "verdict=sent"},
		"loose, another device":              {sysctl: "net.ipv4.conf.a.rp_filter=2", packet: tcp("10.2.0.7:1", "10.2.0.5:2").via("a"), want: "verdict=sent"},
		"the larger of all and the device's": {sysctl: "net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.a.rp_filter=1", packet: tcp("10.2.0.7:1", "10.2.0.5:2").via("a"), want: "verdict=sent"},
		"a broadcast source":                 {sysctl: "net.ipv4.conf.a.rp_filter=2", packet: tcp("10.1.255.255:1", "10.2.0.5:2").via("a"), want: "verdict=martian"},
		"a loopback source":                  {packet: tcp("127.0.0.1:1", "10.2.0.5:2").via("a"), want: "verdict=martian"},
		"a loopback destination":             {packet: tcp("10.1.0.5:1", "127.0.0.1:2").via("a"), want: "verdict=martian"},
		"a loopback destination allowed":     {sysctl: "net.ipv4.conf.a.route_localnet=1", packet: tcp("10.1.0.5:1", "127.0.0.1:2").via("a"), want: "verdict=delivered"},
		"to everybody":                       {packet: udp("10.1.0.5:1", "255.255.255.255:67").via("a"), want: "verdict=delivered"},
		"to the net":                         {packet: udp("10.1.0.5:1", "10.1.255.255:67").via("a"), want: "verdict=delivered"},
		"from nobody":                        {packet: udp("0.0.0.0:68", "255.255.255.255:67").via("a"), want: "verdict=delivered"},
		"to a group":                         {packet: udp("10.1.0.5:1", "224.0.0.5:67").via("a"), want: "verdict=unknown"},
		"to the net behind, for nobody":      {sysctl: "net.ipv4.conf.a.bc_forwarding=1", packet: udp("10.1.0.5:1", "10.2.255.255:67").via("a"), want: "verdict=delivered"},
		"to the net behind":                  {sysctl: "net.ipv4.conf.all.bc_forwarding=1 net.ipv4.conf.a.bc_forwarding=1 net.ipv4.conf.a.forwarding=0", packet: udp("10.1.0.5:1", "10.2.255.255:67").via("a"), want: "verdict=sent out=b"},
		"the way back has no protocol":       {rules: "10:\tfrom all iif lo ipproto tcp unreachable\n", sysctl: "net.ipv4.conf.a.rp_filter=1", packet: tcp("10.1.0.7:1", "10.1.0.1:2").via("a"), want: "verdict=delivered"},
		"unless a rule asks for one":         {rules: "10:\tfrom all iif lo ipproto tcp unreachable\n11:\tfrom all dport 99 lookup main\n", sysctl: "net.ipv4.conf.a.rp_filter=1", packet: tcp("10.1.0.7:1", "10.1.0.1:2").via("a"), want: "verdict=martian"},
		"not a router":                       {sysctl: "net.ipv4.conf.a.forwarding=0", packet: tcp("10.1.0.5:1", "10.2.0.5:2").via("a"), want: "verdict=unroutable doubts=0"},
		"the mark does not find the way back": {rules: "10:\tfrom all fwmark 0x5 lookup 7\n", routes: "default dev a table 7\n", sysctl: "net.ipv4.conf.a.rp_filter=1",
			packet: tcp("10.9.0.7:1", "10.2.0.1:2").via("a").marked(5), want: "verdict=martian"},
		"but with src_valid_mark": {rules: "10:\tfrom 10.2.0.1 fwmark 0x5 lookup 7\n", routes: "default dev a table 7\n", sysctl: "net.ipv4.conf.a.rp_filter=1 net.ipv4.conf.all.src_valid_mark=1",
			packet: tcp("10.9.0.7:1", "10.2.0.1:2").via("a").marked(5), want: "verdict=delivered"},
	} {
		t.Run(name, func(t *testing.T) {
			r := router()
			rules := ""
			if x.rules != "" {
				rules = base + x.rules + end
			}
			r = r.with(rules, strings.Fields(x.sysctl)...)
			r.routes += x.routes
			receive(r.space(t), x.packet, nil).want(t, x.want)
		})
	}
}

// TestSending is about what a process of the namespace sends.
func TestSending(t *testing.T) {
	base, end := "0:\tfrom all lookup local\n", "32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
	open := func(to string) Packet { return tcp("0.0.0.0:1", to) }
	bound := tcp("10.1.0.1:1", "10.9.9.9:2")
	bound.OIF = "a"
	const users = "10:\tfrom all uidrange 1000-2000 lookup 7\n"
	for name, x := range map[string]struct {
		rules, routes, legacy string
		packet                Packet
		want                  string
	}{
		"by the user":                 {rules: users, routes: "default dev a table 7\n", packet: tcp("10.2.0.1:1", "10.9.0.9:2").user(1500), want: "out=a"},
		"another user":                {rules: users, routes: "default dev a table 7\n", packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=b"},
		"routing again forgets them":  {rules: users, routes: "default dev a table 7\n", legacy: withRules("mangle", "-A OUTPUT -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2").user(1500), want: "out=b"},
		"the source of the route":     {packet: open("10.1.0.9:2"), want: "out=a src=10.1.0.1:1"},
		"the source of the device":    {packet: open("10.9.0.9:2"), want: "out=b src=10.2.0.1:1 via=10.2.0.254"},
		"to itself":                   {packet: open("10.2.0.1:2"), want: "verdict=delivered src=10.2.0.1:1"},
		"to 127.0.0.1":                {packet: open("127.0.0.1:2"), want: "verdict=delivered src=127.0.0.1:1"},
		"bound to a device":           {packet: bound, want: "verdict=sent out=a"},
		"iif lo":                      {rules: "10:\tfrom all iif lo lookup 7\n", routes: "default dev a table 7\n", packet: open("10.9.0.9:2"), want: "out=a src=10.1.0.1:1"},
		"oif":                         {rules: "10:\tfrom all oif a lookup 7\n", routes: "default via 10.1.0.77 dev a table 7\n", packet: bound, want: "out=a via=10.1.0.77"},
		"mangle's mark routes again":  {rules: "10:\tfrom all fwmark 0x5 lookup 7\n", routes: "default dev a table 7\n", legacy: withRules("mangle", "-A OUTPUT -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=a mark=0x5 src=10.2.0.1:1"},
		"routing again sees ports":    {rules: "10:\tfrom all fwmark 0x5 ipproto tcp dport 2 lookup 7\n", routes: "default dev a table 7\n", legacy: withRules("mangle", "-A OUTPUT -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=a"},
		"unless none but iif lo asks": {rules: "10:\tfrom all fwmark 0x5 iif lo ipproto tcp lookup 7\n", routes: "default dev a table 7\n", legacy: withRules("mangle", "-A OUTPUT -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=b"},
		"filter's mark does not":      {rules: "10:\tfrom all fwmark 0x5 lookup 7\n", routes: "default dev a table 7\n", legacy: withRules("filter", "-A OUTPUT -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=b mark=0x5"},
		"no way after mangle":         {rules: "10:\tfrom all fwmark 0x5 unreachable\n", legacy: withRules("mangle", "-A OUTPUT -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "verdict=rejected"},
		"-o sees the first device":    {legacy: withRules("nat", "-A OUTPUT -d 10.9.0.9/32 -j DNAT --to-destination 10.1.0.9\n") + withRules("filter", "-A OUTPUT -o b -j MARK --set-xmark 0x5/0xffffffff\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=a dst=10.1.0.9:2 mark=0x5"},
		"loopback sees no nat again":  {legacy: withRules("nat", "-A PREROUTING -j DNAT --to-destination 10.9.9.9\n"), packet: open("10.2.0.1:2"), want: "verdict=delivered dst=10.2.0.1:2"},
		"loopback's mark routes not":  {rules: "10:\tfrom all fwmark 0x5 unreachable\n", legacy: withRules("mangle", "-A PREROUTING -j MARK --set-xmark 0x5/0xffffffff\n"), packet: open("10.2.0.1:2"), want: "verdict=delivered mark=0x5"},
		"masquerade by the device":    {legacy: withRules("nat", "-A POSTROUTING -o b -j MASQUERADE\n"), packet: tcp("10.1.0.1:1", "10.9.0.9:2"), want: "out=b src=10.2.0.1:1"},
		"masquerade by the neighbour": {legacy: withRules("nat", "-A POSTROUTING -j MASQUERADE --to-ports 5000-6000\n"), packet: tcp("10.9.9.9:1", "10.1.0.9:2"), want: "out=a src=10.1.0.1:5000 doubts=1"},
		"netmap":                      {legacy: withRules("nat", "-A OUTPUT -d 10.9.0.0/24 -j NETMAP --to 10.1.7.0/24\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "out=a dst=10.1.7.9:2"},
		"a port drawn from several":   {legacy: withRules("nat", "-A OUTPUT -p tcp -j DNAT --to-destination 10.1.0.9:5000-5100 --random\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "dst=10.1.0.9:5000 doubts=1"},
		"the first port of several":   {legacy: withRules("nat", "-A OUTPUT -p tcp -j DNAT --to-destination 10.1.0.9:5000-5100\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "dst=10.1.0.9:5000 doubts=0"},
		"a range of addresses":        {legacy: withRules("nat", "-A OUTPUT -j DNAT --to-destination 10.1.0.7-10.1.0.9\n"), packet: tcp("10.2.0.1:1", "10.9.0.9:2"), want: "verdict=unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			r := router()
			r.legacy = x.legacy
			if x.rules != "" {
				r.rules = base + x.rules + end
			}
			r.routes += x.routes
			send(r.space(t), x.packet, nil).want(t, x.want)
		})
	}
}

// TestVariants has rules in both variants at one hook: an order that matters is
// told as open.
func TestVariants(t *testing.T) {
	p := tcp("10.1.0.5:1000", "10.2.0.5:80").via("a")
	r := router()
	r.legacy = withRules("mangle", "-A FORWARD -j MARK --set-xmark 0x1/0x1\n")
	r.nft = withRules("mangle", "-A FORWARD -j MARK --set-xmark 0x2/0x2\n")
	receive(r.space(t), p, nil).want(t, "verdict=sent mark=0x3 doubts=0")
	r.nft = withRules("mangle", "-A FORWARD -m mark --mark 0x1 -j DROP\n")
	receive(r.space(t), p, nil).want(t, "verdict=unknown doubts=1")
	r.nft = withRules("mangle", "-A FORWARD -m mark --mark 0x1 -j MARK --set-xmark 0x3/0x3\n")
	receive(r.space(t), p, nil).want(t, "verdict=unknown doubts=1")
}

// TestSecurity is the table that the two variants hook at different places: SNAT in
// INPUT comes between.
func TestSecurity(t *testing.T) {
	rules := withRules("nat", "-A INPUT -j SNAT --to-source 10.1.9.9\n") + withRules("security", "-A INPUT -s 10.1.9.9/32 -j DROP\n")
	p := tcp("10.1.0.5:1000", "10.1.0.1:80").via("a")
	r := router()
	r.legacy = rules
	receive(r.space(t), p, nil).want(t, "verdict=delivered")
	r.legacy, r.nft = "", rules
	receive(r.space(t), p, nil).want(t, "verdict=dropped")
}

// TestForeignChain is told of, and not followed.
func TestForeignChain(t *testing.T) {
	ns := router().netns(t)
	ns.Ruleset = &nft.Ruleset{Tables: []*nft.Table{{Family: "inet", Name: "fw", Chains: []*nft.Chain{
		{Name: "fwd", Type: "filter", Hook: "forward", Rules: []string{"drop"}},
		{Name: "out", Type: "filter", Hook: "output", Rules: []string{"drop"}},
	}}}}
	s, err := Compile(ns)
	if err != nil {
		t.Fatal(err)
	}
	receive(s, tcp("10.1.0.5:1000", "10.2.0.5:80").via("a"), nil).want(t, "verdict=sent doubts=1")
	receive(s, tcp("10.1.0.5:1000", "10.2.0.1:80").via("a"), nil).want(t, "verdict=delivered doubts=0")
}

// TestMissing is a dump without sysctls: the defaults stand in, and it is said.
func TestMissing(t *testing.T) {
	r := router()
	r.sysctls = nil
	p := tcp("10.1.0.5:1000", "10.2.0.5:80").via("a")
	receive(r.space(t), p, nil).want(t, "verdict=unroutable doubts=1")
	receive(r.space(t, Assume(map[string]string{"net.ipv4.ip_forward": "1"})), p, nil).want(t, "verdict=sent doubts=0")
	receive(r.space(t), tcp("10.2.0.5:1000", "10.1.0.1:80").via("a"), nil).want(t, "verdict=delivered doubts=1")
}
