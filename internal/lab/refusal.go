// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/lab/evidence"
)

// denial is how the access log begins to say that a policy refused somebody.
const denial = "rbac_access_denied_matched_policy["

// ztunnelStats is where a ztunnel counts.
const ztunnelStats = "http://127.0.0.1:15000/stats"

// watch is what ztunnel B and a pod of its node have seen since some moment.
type watch struct {
	s       *scene
	server  string // host
	log     int64  // where in the ztunnel's log it begins
	denied  map[string]int
	devices *evidence.Tap // the server's eth0
}

func (s *scene) watch(ctx context.Context, server string) (*watch, error) {
	w := &watch{s: s, server: server}
	info, err := os.Stat(w.logFile())
	if err != nil {
		return nil, fmt.Errorf("finding the ztunnel's log: %w", err)
	}
	w.log = info.Size()
	if w.denied, err = s.denials(ctx); err != nil {
		return nil, err
	}
	if w.devices, err = evidence.OpenTap(s.lab.Net.Namespace(server), podDevice); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *watch) close() {
	// Nothing can be done about a socket that does not close.
	_ = w.devices.Close()
}

func (w *watch) logFile() string { return w.s.lab.Net.LogFile(w.s.zB.Host, ztunnelDaemon) }

// denials are ztunnel B's counters of connections and requests that RBAC filters
// refused, by name.
func (s *scene) denials(ctx context.Context) (map[string]int, error) {
	text, err := s.lab.Get(ctx, s.zB.Host, ztunnelStats)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !strings.HasSuffix(name, "rbac.denied") {
			continue
		}
		if counts[name], err = strconv.Atoi(value); err != nil {
			return nil, fmt.Errorf("reading the counter %s: %w", name, err)
		}
	}
	return counts, nil
}

// refusals waits for a line of the access log that says that a connection to this
// address was refused, and returns all of them.
func (w *watch) refusals(ctx context.Context, local netip.AddrPort) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.s.lab.Timeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		lines, err := w.logged(denial, " "+local.String()+" ")
		if err != nil || len(lines) > 0 {
			return lines, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s in the access log of %s (%s): %w", denial, w.s.zB.Host, local, ctx.Err())
		case <-tick.C:
		}
	}
}

// logged are the log's new lines that have all of these words.
func (w *watch) logged(words ...string) ([]string, error) {
	f, err := os.Open(w.logFile())
	if err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(w.log, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log: %w", err)
	}
	var found []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		has := true
		for _, word := range words {
			has = has && strings.Contains(lines.Text(), word)
		}
		if has {
			found = append(found, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log: %w", err)
	}
	return found, nil
}

// counted are the counters that moved.
func (w *watch) counted(ctx context.Context) (moved []string, err error) {
	now, err := w.s.denials(ctx)
	if err != nil {
		return nil, err
	}
	for name, n := range now {
		if n > w.denied[name] {
			moved = append(moved, fmt.Sprintf("%s went from %d to %d", name, w.denied[name], n))
		}
	}
	return moved, nil
}

// refusal is a call that must not come through.
type refusal struct {
	title, text string
	from        string         // host
	to          netip.AddrPort // of a pod of node B
	server      string         // that pod's host
	local       netip.AddrPort // where ztunnel B takes the connection
	place       string         // last words of the access log's line
	policy      string         // in the access log's line
	counter     string         // what counts it
}

// finding makes the call and looks at everything that should tell of it: the
// caller's error, the access log and the counters of ztunnel B, and the server's
// device, which nobody may have tried to connect to.
func (r *refusal) finding(ctx context.Context, s *scene) (Finding, error) {
	f := Finding{Title: r.title, Text: r.text}
	w, err := s.watch(ctx, r.server)
	if err != nil {
		return f, err
	}
	defer w.close()
	call, err := s.lab.Call(ctx, r.from, "http://"+r.to.String()+"/")
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	if err == nil {
		f.Details = append(f.Details, fmt.Sprintf("%s was answered, with status %d", r.from, call.Status))
		return f, nil
	}
	f.Details = append(f.Details, r.from+": "+lastWords(err))
	lines, err := w.refusals(ctx, r.local)
	if err != nil {
		return f, err
	}
	f.OK = true
	for _, line := range lines {
		f.Details = append(f.Details, "ztunnel B: "+line)
		f.OK = f.OK && strings.Contains(line, denial+r.policy+"]") && strings.HasSuffix(line, r.place)
	}
	moved, err := w.counted(ctx)
	if err != nil {
		return f, err
	}
	f.Details = append(f.Details, moved...)
	f.OK = f.OK && len(moved) == 1 && strings.HasPrefix(moved[0], r.counter+" ")
	frames, err := w.devices.Drain()
	if err != nil {
		return f, err
	}
	for _, flow := range evidence.Opened(frames) {
		f.OK = false
		f.Details = append(f.Details, "a connection reached the pod: "+flow.String())
	}
	return f, nil
}

// lastWords is what an error says at its very end: why the caller's socket failed.
func lastWords(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "\": "); i >= 0 {
		text = text[i+3:]
	}
	return text
}
