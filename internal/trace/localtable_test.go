// SPDX-License-Identifier: Apache-2.0

package trace

import "testing"

// TestOwnAddressesOfRoutes: who pastes ip route alone shows by the kernel's own routes
// which addresses the node has; what is for them is not forwarded.
func TestOwnAddressesOfRoutes(t *testing.T) {
	x := texts{
		sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		legacy:  "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
		routes:  "default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.7\n10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.5\n172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1\n",
	}
	s := x.space(t)
	receive(s, tcp("10.0.0.9:4000", "10.0.0.5:80").via("eth0"), nil).want(t, "verdict=delivered")
	receive(s, tcp("10.0.0.9:4000", "172.17.0.1:80").via("eth0"), nil).want(t, "verdict=delivered")
	receive(s, tcp("10.0.0.9:4000", "172.17.0.2:80").via("eth0"), nil).want(t, "verdict=dropped")
	x.links = "2: eth0: <BROADCAST,UP> mtu 1500\n    inet 10.0.0.6/24 scope global eth0\n"
	receive(x.space(t), tcp("10.0.0.9:4000", "10.0.0.5:80").via("eth0"), nil).want(t, "verdict=dropped") // the addresses are known
}
