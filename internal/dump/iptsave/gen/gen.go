// SPDX-License-Identifier: Apache-2.0

// Package gen writes what iptables-save prints on a node where kube-proxy serves
// many services: big, regular input for tests and benchmarks.
package gen

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// Size is how much there is.
type Size struct {
	Services  int // at most 65,536
	Endpoints int // of each service
}

// Rules is the number of rules that KubeProxy prints for a size.
func (s Size) Rules() int { return s.Services*(2+3*s.Endpoints) + frame }

// For is the size that has about that many rules, with three endpoints a service.
func For(rules int) Size { return Size{Services: (rules - frame) / 11, Endpoints: 3} }

// frame is the number of rules that do not depend on the services.
const frame = 17

// ServiceIP is the address of the service with that number; it listens on port 80.
func ServiceIP(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 96 + byte(n>>16), byte(n >> 8), byte(n)})
}

// EndpointIP is the address of a service's endpoint; all listen on port 8080.
func EndpointIP(service, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 128 + byte(n), byte(service >> 8), byte(service)})
}

// KubeProxy is the text, in the order and spelling of iptables-save 1.8.
func KubeProxy(s Size) string {
	var b strings.Builder
	b.Grow(s.Rules() * 180)
	b.WriteString(filterTable)
	b.WriteString(natChains)
	eachEndpoint(s, func(service, endpoint int) {
		fmt.Fprintf(&b, ":%s - [0:0]\n", endpointChain(service, endpoint))
	})
	b.WriteString(":KUBE-SERVICES - [0:0]\n")
	for service := range s.Services {
		fmt.Fprintf(&b, ":%s - [0:0]\n", serviceChain(service))
	}
	b.WriteString(natFrame)
	eachEndpoint(s, func(service, endpoint int) { writeEndpoint(&b, service, endpoint) })
	for service := range s.Services {
		fmt.Fprintf(&b, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"%s cluster IP\" -m tcp --dport 80 -j %s\n",
			ServiceIP(service), name(service), serviceChain(service))
	}
	b.WriteString("-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n")
	for service := range s.Services {
		writeService(&b, service, s.Endpoints)
	}
	b.WriteString("COMMIT\n# Completed on Tue Nov 15 09:00:00 2022\n")
	return b.String()
}

func eachEndpoint(s Size, do func(service, endpoint int)) {
	for service := range s.Services {
		for endpoint := range s.Endpoints {
			do(service, endpoint)
		}
	}
}

func writeEndpoint(b *strings.Builder, service, endpoint int) {
	chain, ip := endpointChain(service, endpoint), EndpointIP(service, endpoint)
	fmt.Fprintf(b, "-A %s -s %s/32 -m comment --comment \"%s\" -j KUBE-MARK-MASQ\n", chain, ip, name(service))
	fmt.Fprintf(b, "-A %s -p tcp -m comment --comment \"%s\" -m tcp -j DNAT --to-destination %s:8080\n", chain, name(service), ip)
}

func writeService(b *strings.Builder, service, endpoints int) {
	chain := serviceChain(service)
	fmt.Fprintf(b, "-A %s ! -s 10.128.0.0/9 -d %s/32 -p tcp -m comment --comment \"%s cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ\n",
		chain, ServiceIP(service), name(service))
	for n := range endpoints {
		random := ""
		if left := endpoints - n; left > 1 {
			random = fmt.Sprintf(" -m statistic --mode random --probability %.11f", inKernel(1/float64(left)))
		}
		fmt.Fprintf(b, "-A %s -m comment --comment \"%s -> %s:8080\"%s -j %s\n", chain, name(service), EndpointIP(service, n), random, endpointChain(service, n))
	}
}

// inKernel is a probability as the kernel holds it, in 31 bits.
func inKernel(p float64) float64 { return math.Round(p*(1<<31)) / (1 << 31) }

func name(service int) string { return fmt.Sprintf("shop-%d/web-%d:http", service%37, service) }

func serviceChain(service int) string { return fmt.Sprintf("KUBE-SVC-%016X", service) }

func endpointChain(service, endpoint int) string {
	return fmt.Sprintf("KUBE-SEP-%012X%04X", service, endpoint)
}
