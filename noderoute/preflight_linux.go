// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The capabilities' bits, from linux/capability.h. iptables asks for sets, and its
// legacy variant for everything, through a raw socket.
const (
	capNetAdmin = 12
	capNetRaw   = 13
)

// Preflight looks for whatever would keep the data path from working, before
// anything is written, and names all of it. Addresses that the configuration
// does not have yet (no ztunnel is ready) are not checked. The error is about
// looking itself.
func (n *Node) Preflight(ctx context.Context, c HostConfig) ([]Problem, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c = c.withDefaults()
	var out []Problem
	_, err := n.in(ctx, Host, func(s *session) error {
		t, problems := s.prerequisites()
		out = problems
		if len(problems) > 0 {
			return nil
		}
		settings, err := s.settingsProblems(t)
		if err != nil {
			return err
		}
		out = append(out, settings...)
		p, err := probePlan(c)
		if err != nil {
			return err
		}
		lacking, err := s.probe(p, t)
		if err != nil {
			return err
		}
		out = append(out, lacking...)
		// ztunnel's pods run on the same kernel: better told before there is one.
		inPod, err := probePodPlan(PodConfig{Tunnel: c.Tunnel, TunnelPort: c.TunnelPort})
		if err != nil {
			return err
		}
		more, err := s.probe(inPod, t)
		if err != nil {
			return err
		}
		for _, p := range more {
			if !slices.ContainsFunc(out, func(o Problem) bool { return o.What == p.What }) {
				out = append(out, p)
			}
		}
		for _, check := range []func(HostConfig, tools) ([]Problem, error){s.foreignProblems, s.routeProblems, s.neighbourProblems, s.drainProblems} {
			found, err := check(c, t)
			if err != nil && len(lacking) == 0 { // what the kernel lacks can't be listed either
				return err
			}
			out = append(out, found...)
		}
		return nil
	})
	return out, err
}

// PreflightPod is Preflight for the inside of a ztunnel pod.
func (n *Node) PreflightPod(ctx context.Context, c PodConfig) ([]Problem, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c = c.withDefaults()
	var out []Problem
	_, err := n.in(ctx, InPod, func(s *session) error {
		t, problems := s.prerequisites()
		out = problems
		if len(problems) > 0 {
			return nil
		}
		out = s.sysctlProblems()
		p, err := probePodPlan(c)
		if err != nil {
			return err
		}
		lacking, err := s.probe(p, t)
		if err != nil {
			return err
		}
		found, err := s.podProblems(c, t)
		out = append(append(out, lacking...), found...)
		return err
	})
	return out, err
}

// prerequisites are what looking itself needs; with one of these missing,
// nothing more can be said.
func (s *session) prerequisites() (tools, []Problem) {
	var out []Problem
	for _, c := range []struct {
		bit        uint
		what, name string
	}{{capNetAdmin, "change the network", "CAP_NET_ADMIN"}, {capNetRaw, "use iptables", "CAP_NET_RAW"}} {
		if !hasCapability(c.bit) {
			out = append(out, Problem{
				What: fmt.Sprintf("no permission to %s (%s)", c.what, c.name), Where: "this process",
				WayOut: "run as root; in a container, add the capabilities NET_ADMIN and NET_RAW", Blocking: true,
			})
		}
	}
	if len(out) > 0 {
		return tools{}, out
	}
	t, err := s.decide()
	if err == nil {
		return t, nil
	}
	p := Problem{What: err.Error(), Where: "iptables", WayOut: "see the message", Blocking: true}
	if errors.Is(err, ErrNoTool) {
		p.WayOut = "install them: apt-get install iptables"
	}
	return tools{}, []Problem{p}
}

func hasCapability(bit uint) bool {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	caps, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return err == nil && caps&(1<<bit) != 0
}

// settingsProblems are about a node's own settings.
func (s *session) settingsProblems(t tools) ([]Problem, error) {
	out := s.sysctlProblems()
	u, err := s.usage()
	if err != nil {
		return nil, err
	}
	if w := u.warning(t.variant); w != "" {
		out = append(out, Problem{
			What: w, Where: "iptables-nft-save, iptables-legacy-save",
			WayOut: "have all programs of the node use one variant, because what ours accepts the other's rules still see; --iptables chooses one by hand",
		})
	}
	forward, err := os.ReadFile(procSys + "/net/ipv4/ip_forward")
	if err == nil && strings.TrimSpace(string(forward)) == "0" {
		out = append(out, Problem{
			What: "the node does not forward packets", Where: "net.ipv4.ip_forward = 0",
			WayOut: "sysctl -w net.ipv4.ip_forward=1 (a node with a CNI plugin has it on)", Blocking: true,
		})
	}
	return out, nil
}

// sysctlProblems tells whether settings can be changed at all. Opening for
// writing changes nothing.
func (s *session) sysctlProblems() []Problem {
	path := Sysctl{Device: "all", Key: "rp_filter"}.path(s.node.options.ProcSys)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return nil
	}
	return []Problem{{
		What: fmt.Sprintf("sysctls cannot be changed: %v", err), Where: path,
		WayOut: "mount /proc/sys writable (in Kubernetes: a hostPath of /proc/sys/net below a folder that --proc-sys names, or a privileged container)", Blocking: true,
	}}
}

// podProblems are what stands in the way inside a ztunnel pod.
func (s *session) podProblems(c PodConfig, t tools) ([]Problem, error) {
	f, err := s.podFacts()
	if err != nil {
		return []Problem{{
			What: err.Error(), Where: "ip route show default",
			WayOut:   "the pod needs an IPv4 address on eth0 and a default route with its node as gateway",
			Blocking: true,
		}}, nil
	}
	var out []Problem
	if f.Gateway.IsLinkLocalUnicast() {
		out = append(out, Problem{
			What:     "the pod's gateway is a link-local address that no tunnel can lead to",
			Where:    "ip route show default: via " + f.Gateway.String(),
			WayOut:   "this is Calico's way; the data path needs a CNI plugin that gives pods their node's address as gateway",
			Blocking: true,
		})
	}
	p, err := PlanPod(c, f)
	if err != nil {
		return out, err
	}
	l, err := s.list(p, f.Gateway)
	if err != nil {
		return out, err
	}
	port, err := s.portProblems(c.Tunnel, c.TunnelPort)
	return append(append(out, obstacles(p, l)...), port...), err
}
