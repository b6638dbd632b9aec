// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/lab"
	"github.com/ambient22/ambient22/internal/lab/labtest"
)

// The lab's hosts that the test works on.
const (
	hostA    = "node-a"
	ztunnelA = "ztunnel-a"
)

// theLab is a running lab, on this kernel, with VXLAN.
type theLab struct {
	*lab.Lab
	t *testing.T
}

func upLab(t *testing.T) *theLab {
	t.Helper()
	return &theLab{Lab: labtest.Up(t, "doctor"), t: t}
}

// doctor examines node A, and wants the exit code to fit what is found.
func (l *theLab) doctor() *doctor.Report {
	l.t.Helper()
	cmd, err := l.Net.Command(l.t.Context(), hostA, filepath.Join(l.BinDir, "ambientctl"), "doctor", "--json", "--timeout", "1s")
	if err != nil {
		l.t.Fatal(err)
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	var reports []*doctor.Report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != 1 {
		l.t.Fatalf("reading what the doctor says: %v\n%s%s", err, out.String(), said.String())
	}
	if (exit != nil) != (reports[0].Faults() > 0) {
		l.t.Errorf("%d things are wrong, and the exit is %v", reports[0].Faults(), exit)
	}
	return reports[0]
}

// until examines the node until what it says holds.
func (l *theLab) until(what string, holds func(*doctor.Report) bool) *doctor.Report {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		r := l.doctor()
		if holds(r) {
			return r
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within 30 s:\n%s", what, text(l.t, r, doctor.TextOptions{All: true}))
		}
	}
}

func (l *theLab) sh(host, script string) {
	l.t.Helper()
	cmd, err := l.Net.Command(l.t.Context(), host, "sh", "-ec", script)
	if err != nil {
		l.t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// pid is a host's process of that program.
func (l *theLab) pid(host, program string) int {
	l.t.Helper()
	pid := labtest.PID(l.t, l.Lab, host, program)
	if pid == 0 {
		l.t.Fatalf("%s has no process of %s", host, program)
	}
	return pid
}

// halted stops a program for as long as do takes.
func (l *theLab) halted(host, program string, do func()) {
	l.t.Helper()
	pid := l.pid(host, program)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := unix.Kill(pid, unix.SIGCONT); err != nil {
			l.t.Error(err)
		}
	}()
	do()
}

// label writes a label into notsleep's manifest.
func (l *theLab) label(from, to string) {
	l.t.Helper()
	path := filepath.Join(l.StateDir, l.Name, "manifests", "notsleep.yaml")
	old, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	changed := strings.Replace(string(old), from, to, 1)
	if changed == string(old) {
		l.t.Fatalf("%s has no %q", path, from)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// TestLab examines a running node: healthy, with a pod that opts out, with one thing
// broken after the other while the controller can't set it right, and with a ztunnel
// that does not answer.
func TestLab(t *testing.T) {
	l := upLab(t)
	healthy := func(r *doctor.Report) bool { return r.Faults() == 0 && podOf(t, r, "sleep").Capture == doctor.Captured }
	l.until("a healthy node", healthy)

	t.Run("opted out", func(t *testing.T) {
		l.label("    app: notsleep\n", "    app: notsleep\n    ambient-type: none\n")
		r := l.until("notsleep left out", func(r *doctor.Report) bool { return podOf(t, r, "notsleep").Capture == doctor.Outside })
		if p := podOf(t, r, "notsleep"); !strings.Contains(p.Reasons[0].Text, "ambient-type") {
			t.Errorf("the reason is %q", p.Reasons[0].Text)
		}
		l.label("    ambient-type: none\n", "")
		l.until("notsleep captured again", healthy)
	})
	breaks := []struct{ name, script, want string }{
		{"set entry", "ipset del ztunnel-pods-ips 10.4.4.19", "is not in the set"},
		{"rule", "iptables-legacy -t mangle -D ztunnel-PREROUTING -p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100", "The rule that captures is not in chain"},
		{"jump", "iptables-legacy -t mangle -D PREROUTING -j ztunnel-PREROUTING", "jumps to ztunnel-PREROUTING"},
		{"route in", "ip route del 10.4.4.19 table 100", "leads past the ztunnel"},
		{"route out", "ip route del default table 101", "table 101 has no route"},
		{"ip rule", "ip rule del priority 101", "missing or changed"},
		{"device", "ip link set istioout down", "istioout is down"},
	}
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			l.halted(hostA, "ambient-node", func() {
				l.sh(hostA, b.script)
				r := l.doctor()
				p := podOf(t, r, "sleep")
				if p.Capture != doctor.Missed || !strings.Contains(p.Reasons[0].Text, b.want) {
					t.Errorf("not %q:\n%s", b.want, text(t, r, doctor.TextOptions{All: true}))
				}
				if c := check(t, r, "controller"); c.State != doctor.Wrong || !strings.Contains(c.Text, "no answer in time") {
					t.Errorf("the controller: %+v", c)
				}
			})
			r := l.until("the node is set right", healthy)
			if c := check(t, r, "controller"); c.State != doctor.Note {
				t.Errorf("nothing is said of what was set right: %+v", c)
			}
		})
	}
	t.Run("ztunnel halted", func(t *testing.T) {
		l.halted(ztunnelA, "ztunnel", func() {
			r := l.doctor()
			if p := podOf(t, r, "sleep"); p.Capture != doctor.Cut || !strings.Contains(p.Reasons[0].Text, "the ztunnel does not answer") {
				t.Errorf("%s", text(t, r, doctor.TextOptions{All: true}))
			}
		})
		l.until("the ztunnel answers", healthy)
	})
}
