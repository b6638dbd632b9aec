// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/noderoute"
)

// nobody is whose rules say nothing about where they come from.
const nobody = "unknown owner"

// chainOwner says whose chain it is, by the beginnings that programs give to the
// names of their chains.
func chainOwner(name string) string {
	for _, o := range [...][2]string{
		{"ztunnel-", "legacy Geneve ambient"},
		{"ISTIO_", "Istio"},
		{"KUBE-ROUTER", "kube-router"},
		{"KUBE-NWPLCY", "kube-router"},
		{"KUBE-POD-FW", "kube-router"},
		{"KUBE-KUBELET", "kubelet"},
		{"KUBE-FIREWALL", "kubelet"},
		{"KUBE-", "kube-proxy"},
		{"cali-", "Calico"},
		{"cali:", "Calico"},
		{"DOCKER", "Docker"},
		{"CILIUM_", "Cilium"},
		{"OLD_CILIUM_", "Cilium"},
		{"FLANNEL-", "flannel"},
		{"WEAVE", "Weave"},
		{"CNI-", "CNI plugins"},
		{"AWS-", "Amazon VPC CNI"},
		{"IP-MASQ", "ip-masq-agent"},
		{"ANTREA-", "Antrea"},
		{"OVN-KUBE-", "OVN-Kubernetes"},
		{"LIBVIRT_", "libvirt"},
		{"NETAVARK", "Podman"},
		{"ufw-", "ufw"},
		{"f2b-", "fail2ban"},
		{"ts-", "Tailscale"},
	} {
		if strings.HasPrefix(name, o[0]) {
			return o[1]
		}
	}
	for _, suffix := range []string{"_ZONES", "_direct", "_public", "_POLICIES"} {
		if strings.Contains(name, suffix) {
			return "firewalld"
		}
	}
	return ""
}

// ruleOwner says whose a rule is: by its chain, the chain that it jumps to, or what
// its comment says.
func ruleOwner(r *iptsave.Rule) string {
	if o := chainOwner(r.Chain); o != "" {
		return o
	}
	if j, is := targetByValue(r.Target).(iptsave.Jump); is {
		if o := chainOwner(j.Chain); o != "" {
			return o
		}
	}
	for _, m := range r.Matches {
		if c, is := byValue(m).(iptsave.Comment); is {
			if o := commentOwner(c.Text); o != "" {
				return o
			}
		}
	}
	return nobody
}

func commentOwner(text string) string {
	lower := strings.ToLower(text)
	for _, o := range [...][2]string{
		{"cali:", "Calico"}, {"kubernetes", "kube-proxy"}, {"cilium", "Cilium"}, {"flanneld", "flannel"}, {"docker", "Docker"},
		{"name: ", "CNI plugins"}, {"aws", "Amazon VPC CNI"}, {"ip-masq", "ip-masq-agent"}, {"istio", "Istio"},
	} {
		if strings.Contains(lower, o[0]) {
			return o[1]
		}
	}
	return ""
}

// ipRuleOwner says whose an ip rule is; "" is ours, or what ours was changed into.
func ipRuleOwner(r *iproute.Rule, planned []noderoute.Rule) string {
	for _, p := range planned {
		if r.Priority == p.Priority || p.Table != 0 && r.Action != "goto" && r.Table == p.Table || p.Mask != 0 && r.Mark == p.Mark && r.Mask == p.Mask {
			return ""
		}
	}
	switch {
	case r.Priority == 0 && r.Table == 255, r.Priority == 32766 && r.Table == 254, r.Priority == 32767 && r.Table == 253:
		return "the kernel's own"
	}
	return nobody
}

// setOwner says whose a set is.
func setOwner(name string) string {
	for _, o := range [...][2]string{
		{"cali", "Calico"}, {"KUBE-", "kube-proxy"}, {"istio-inpod", "Istio"}, {"cilium", "Cilium"}, {"weave", "Weave"},
	} {
		if strings.HasPrefix(name, o[0]) {
			return o[1]
		}
	}
	return nobody
}

// foreigners counts lines of others by owner.
type foreigners struct{ counts map[foreigner]int }

type foreigner struct {
	space   string
	section Section
	owner   string
}

func (f *foreigners) add(space string, section Section, owner string, n int) {
	if f.counts == nil {
		f.counts = map[foreigner]int{}
	}
	f.counts[foreigner{space, section, owner}] += n
}

// findings are one for each owner, the one with the most lines first.
func (f *foreigners) findings() []Finding {
	var out []Finding
	for who, n := range f.counts {
		out = append(out, Finding{Kind: Foreign, Space: who.space, Section: who.section, Owner: who.owner, Count: n})
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Section, b.Section), -cmp.Compare(a.Count, b.Count), cmp.Compare(a.Owner, b.Owner))
	})
	return out
}
