// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/faults"
	"github.com/ambient22/ambient22/internal/lab"
	"github.com/ambient22/ambient22/internal/lab/hosts"
	"github.com/ambient22/ambient22/internal/lab/labtest"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// The lab's hosts that faults are put into, and all whose connections are forgotten
// between two of them.
const (
	nodeA    = "node-a"
	ztunnelA = "ztunnel-a"
)

// theLab is a running lab of which node A's controller does not repair anything.
type theLab struct {
	*lab.Lab
	t        *testing.T
	archives []*dump.Archive // of the healthy nodes
	logged   int             // bytes of ztunnel A's log before the present calls: ports are used again
}

// upLab brings a lab of the test's own up: this kernel, VXLAN.
func upLab(t *testing.T) *theLab {
	t.Helper()
	l := labtest.Up(t, "faults")
	out := &theLab{Lab: l, t: t}
	for _, node := range l.Net.Topology.Nodes {
		out.archives = append(out.archives, out.dump(node.Host, "--pods", "all"))
	}
	return out
}

// dump takes a dump of a host.
func (l *theLab) dump(host string, flags ...string) *dump.Archive {
	l.t.Helper()
	argv := append([]string{filepath.Join(l.BinDir, "ambientctl"), "dump", "--out", "-"}, flags...)
	cmd, err := l.Net.Command(l.t.Context(), host, argv...)
	if err != nil {
		l.t.Fatal(err)
	}
	var text, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &said
	if err := cmd.Run(); err != nil {
		l.t.Fatalf("taking a dump of %s: %v\n%s", host, err, said.String())
	}
	archives, err := dump.LoadFrom(&text)
	if err != nil || len(archives) != 1 {
		l.t.Fatalf("reading the dump of %s: %v", host, err)
	}
	return archives[0]
}

// nodes are both nodes as they are now: what the kernel of node A says, and what does
// not change.
func (l *theLab) nodes() []*dump.Node {
	l.t.Helper()
	fresh := &dump.Archive{Header: l.archives[0].Header, Files: slices.Clone(l.archives[0].Files)}
	for host, space := range map[string]string{nodeA: dump.HostSpace, ztunnelA: dump.ZtunnelSpace} {
		for _, f := range l.dump(host, "--only", space).Files {
			if f.Name != dump.FileName(space, dump.KindConfigDump) && f.Name != dump.WorkloadsFile {
				fresh.Files = slices.DeleteFunc(fresh.Files, func(o dump.File) bool { return o.Name == f.Name })
				fresh.Files = append(fresh.Files, f)
			}
		}
	}
	var out []*dump.Node
	for _, a := range []*dump.Archive{fresh, l.archives[1]} {
		n, err := a.Parse()
		if err != nil {
			l.t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

// pid is a host's process of that program; 0 where there is none.
func (l *theLab) pid(host, program string) int {
	l.t.Helper()
	return labtest.PID(l.t, l.Lab, host, program)
}

// orphan ends node A's controller without letting it clean up.
func (l *theLab) orphan() {
	l.t.Helper()
	pid := l.pid(nodeA, "ambient-node")
	if pid == 0 {
		l.t.Fatal("node A has no controller")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !errors.Is(unix.Kill(pid, 0), unix.ESRCH); {
		if time.Now().After(deadline) {
			l.t.Fatalf("process %d does not end", pid)
		}
		if err := pause(l.t.Context(), 5*time.Millisecond); err != nil {
			l.t.Fatal(err)
		}
	}
}

// pause waits a moment before a condition is looked at again.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// inject puts the fault into the kernel, and tells whether it is there.
func (l *theLab) inject(f faults.Fault) bool {
	l.t.Helper()
	_, err := l.Net.Output(l.t.Context(), hostOf(f), "sh", "-c", "IPT=iptables-legacy\nset -e\n"+f.Script())
	if err != nil {
		l.t.Errorf("%s: %v", f.ID, err)
	}
	return err == nil
}

func hostOf(f faults.Fault) string {
	if f.Space == dump.ZtunnelSpace {
		return ztunnelA
	}
	return nodeA
}

// forget ends what connections there are, so that every call opens its own.
func (l *theLab) forget() {
	l.t.Helper()
	for _, host := range []string{ztunnelA, "ztunnel-b"} {
		if _, err := l.Net.Output(l.t.Context(), host, "ss", "-K", "-t", "state", "established", "( dport = 15008 or sport = 15008 or dport = 15088 )"); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, host := range []string{nodeA, "node-b", ztunnelA, "ztunnel-b"} {
		if _, err := l.Net.Output(l.t.Context(), host, "conntrack", "-F"); err != nil {
			l.t.Fatal(err)
		}
	}
}

// heal puts the data path right again, and makes sure that it is.
func (l *theLab) heal(f faults.Fault) {
	l.t.Helper()
	ctx, topology := l.t.Context(), l.Net.Topology
	if f.Section == nodediff.IPRules {
		l.cleanRules(f)
	}
	switch {
	case f.Section == nodediff.IPTables:
		l.restore(f)
	case f.Place == "net.ipv4.ip_forward":
		if _, err := l.Net.Output(ctx, nodeA, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"); err != nil {
			l.t.Fatal(err)
		}
	case hostOf(f) == ztunnelA:
		pod, _ := topology.Pod(ztunnelA)
		if err := l.InitZtunnel(ctx, pod); err != nil {
			l.t.Fatalf("after %s: %v", f.ID, err)
		}
	default:
		node, _ := topology.Node(nodeA)
		if err := l.StartNode(ctx, node); err != nil {
			l.t.Fatalf("after %s: %v", f.ID, err)
		}
		defer l.orphan()
	}
	l.awaitHealth(f)
}

// cleanRules takes away the ip rules that faults have made out of the data path's: the
// node controller leaves what it does not know.
func (l *theLab) cleanRules(f faults.Fault) {
	l.t.Helper()
	healthy, _ := l.archives[0].File(dump.FileName(f.Space, dump.KindRules))
	out, err := l.Net.Output(l.t.Context(), hostOf(f), "ip", "-4", "rule")
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		if strings.Contains(healthy.Text, strings.TrimSpace(line)) {
			continue
		}
		priority, _, _ := strings.Cut(line, ":")
		if _, err := l.Net.Output(l.t.Context(), hostOf(f), "ip", "rule", "del", "pref", priority); err != nil {
			l.t.Fatal(err)
		}
	}
}

// restore puts all rules of iptables back as they were at the beginning.
func (l *theLab) restore(f faults.Fault) {
	l.t.Helper()
	saved, is := l.archives[0].File(dump.FileName(f.Space, dump.KindLegacySave))
	if !is {
		l.t.Fatalf("the dump has no rules of %s", f.Space)
	}
	cmd, err := l.Net.Command(l.t.Context(), hostOf(f), "iptables-legacy-restore")
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(saved.Text)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("after %s: %v\n%s", f.ID, err, out)
	}
}

// awaitHealth waits until diff finds nothing wrong any more.
func (l *theLab) awaitHealth(f faults.Fault) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		r, err := nodediff.Plan(l.nodes()[0], nodediff.Options{})
		if err == nil && !r.Differs() {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("after %s the node is not as it was: %v\n%s\n%s", f.ID, err, differences(r), hosts.Tail(l.Net.LogFile(nodeA, "ambient-node"), 30))
		}
		if err := pause(l.t.Context(), 50*time.Millisecond); err != nil {
			l.t.Fatal(err)
		}
	}
}
