// SPDX-License-Identifier: Apache-2.0

package nodediff

// ruleReasons says what each rule of iptables is for, by table, chain and rule. V is
// the ztunnel's veth, Z its address, H the node's, PORT the tunnels' UDP port.
func ruleReasons() map[string][]string {
	const (
		jump = "Everything passes the data path's chain before anybody else's rules decide."
		save = "The connection remembers that it is skipped, so that its answers are skipped as well."
		own  = "The connection remembers that ztunnel opened it with a pod's address, so that its answers find ztunnel."
		done = "What was just marked to be skipped is done with here."
	)
	return map[string][]string{
		"nat/PREROUTING -j ztunnel-PREROUTING":      {"The jump comes before kube-proxy's, which would turn a service's address into a pod's."},
		"nat/POSTROUTING -j ztunnel-POSTROUTING":    {"The jump comes before anybody's masquerading."},
		"mangle/PREROUTING -j ztunnel-PREROUTING":   {jump},
		"mangle/INPUT -j ztunnel-INPUT":             {jump},
		"mangle/FORWARD -j ztunnel-FORWARD":         {jump},
		"mangle/OUTPUT -j ztunnel-OUTPUT":           {jump},
		"mangle/POSTROUTING -j ztunnel-POSTROUTING": {"The chain is empty and was there in 2022, too."},

		"nat/ztunnel-PREROUTING -m mark --mark 0x100/0x100 -j ACCEPT": {
			"A captured packet leaves the nat table here, so that ztunnel sees the service's address that was called."},
		"nat/ztunnel-PREROUTING DNAT": {
			"The enrolled pods' DNS queries go to ztunnel."},
		"nat/ztunnel-POSTROUTING -m mark --mark 0x100/0x100 -j ACCEPT": {
			"A captured packet keeps its source: nobody masquerades it on its way into the tunnel."},

		"mangle/ztunnel-FORWARD -m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220": {save},
		"mangle/ztunnel-FORWARD -m mark --mark 0x210/0x210 -j CONNMARK --save-mark --nfmask 0x210 --ctmask 0x210": {own},
		"mangle/ztunnel-INPUT -m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220":   {save},
		"mangle/ztunnel-INPUT -m mark --mark 0x210/0x210 -j CONNMARK --save-mark --nfmask 0x210 --ctmask 0x210":   {own},

		"mangle/ztunnel-OUTPUT -s H/32 -j MARK --set-xmark 0x220/0xffffffff": {
			"What the node itself sends, the kubelet's probes above all, passes ztunnel by."},
		"mangle/ztunnel-OUTPUT -s H/32 -j MARK --set-xmark 0x220/0x220": {
			"What the node itself sends passes ztunnel by, and keeps other people's mark bits."},
		"mangle/ztunnel-OUTPUT -m connmark ! --mark 0x210/0x210 -j MARK --set-xmark 0x20/0x20": {
			"From whichever of its addresses the node sends, the table of enrolled pods does not lead its packets."},

		"mangle/ztunnel-PREROUTING -i istioin -j MARK --set-xmark 0x200/0x200": {
			"What came out of the inbound tunnel was handled by ztunnel already; it is skipped."},
		"mangle/ztunnel-PREROUTING -i istioin -j RETURN": {"It needs no other rule of this chain."},
		"mangle/ztunnel-PREROUTING -i istioout -j MARK --set-xmark 0x200/0x200": {
			"What came out of the outbound tunnel was handled by ztunnel already; it is skipped."},
		"mangle/ztunnel-PREROUTING -i istioout -j RETURN": {"It needs no other rule of this chain."},
		"mangle/ztunnel-PREROUTING -p udp -m udp --dport PORT -j RETURN": {
			"The tunnels' outer packets go on without a mark."},
		"mangle/ztunnel-PREROUTING -m connmark --mark 0x220/0x220 -j MARK --set-xmark 0x200/0x200": {
			"The answer of a connection that was skipped is skipped as well."},
		"mangle/ztunnel-PREROUTING -m mark --mark 0x200/0x200 -j RETURN": {
			"The answer of a skipped connection is done with here.",
			"What ztunnel sends with a pod's address is done with here, before the rule that would skip everything of ztunnel's.",
			"What is skipped is done with here, before the rule that captures.",
		},
		"mangle/ztunnel-PREROUTING ! -i V -m connmark --mark 0x210/0x210 -j MARK --set-xmark 0x40/0x40": {
			"The answer to what ztunnel sent with a pod's address is led to ztunnel, and not to that pod."},
		"mangle/ztunnel-PREROUTING -m mark --mark 0x40/0x40 -j RETURN": {done},
		"mangle/ztunnel-PREROUTING ! -s Z/32 -i V -j MARK --set-xmark 0x210/0x210": {
			"What leaves ztunnel with another address than its own was sent with a pod's; its answers must find ztunnel."},
		"mangle/ztunnel-PREROUTING -i V -j MARK --set-xmark 0x220/0x220": {
			"Everything else that ztunnel sends is not captured again."},
		"mangle/ztunnel-PREROUTING -p udp -j MARK --set-xmark 0x220/0x220": {
			"UDP is not captured."},
		"mangle/ztunnel-PREROUTING -p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100": {
			"What is left of an enrolled pod's TCP is captured."},

		"nat/OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008": {
			"A tunnel to a pod of the same node is opened to port 15088 and ends at this ztunnel's own listener."},
		"mangle/PREROUTING -j LOG": {"Every packet is logged, as in the article; it decides nothing."},
		"mangle/PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff": {
			"A tunnel of the mesh that ends here goes to the listener on port 15008."},
		"mangle/PREROUTING -i pistioout -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff": {
			"What an enrolled pod sent goes to the outbound listener, whatever address it is for."},
		"mangle/PREROUTING -i pistioin -p tcp -j TPROXY --on-port 15006 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff": {
			"Plain TCP for an enrolled pod goes to the plaintext listener."},
		"mangle/PREROUTING ! -d Z/32 -i eth0 -p tcp -j MARK --set-xmark 0x4d3/0xfff": {
			"Answers to what the proxy sent with a pod's address come in here for an address that is not the pod's."},
	}
}
