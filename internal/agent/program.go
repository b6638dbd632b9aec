// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
)

// programmed is what this run last put on the node.
type programmed struct {
	ok      bool   // the node was compared with the plan as a whole, and agreed in the end
	down    bool   // nothing is on the node, because no ztunnel is ready
	ztunnel string // namespace/name of the active ztunnel
	config  noderoute.HostConfig
	refused map[string]string // why, by pod UID: logged once

	failed error                // what came of the last attempt, where it failed
	tried  noderoute.HostConfig // with this, the zero one for taking everything down
}

// heldBack is the failure of the last attempt, where it is too early for another: a
// mesh that changes all the time must not have a node tried without end. Another
// ztunnel is worth an attempt in any case.
func (p *pass) heldBack(config noderoute.HostConfig) error {
	if p.node.failed == nil || p.check || !sameBut(config, p.node.tried) {
		return nil
	}
	p.held = true
	return p.node.failed
}

// program puts the data path for the active ztunnel on the node, or takes it
// away where no ztunnel is ready.
func (a *Agent) program(ctx context.Context, s *mesh.Snapshot, p *pass) error {
	ztunnel := s.ActiveZtunnel(a.NodeName)
	if ztunnel == nil {
		return a.takeDown(ctx, s, p)
	}
	p.node.down = false
	config, err := HostConfig(s, a.NodeName, ztunnel)
	if err != nil {
		return err
	}
	config.Tunnel, config.TunnelPort = a.Tunnel, a.TunnelPort
	config.Hardened = Hardened(a.Form)
	if err := p.heldBack(config); err != nil {
		return err
	}
	if name := ztunnel.Namespace + "/" + ztunnel.Name; name != p.node.ztunnel {
		a.Log.Info("the node's active ztunnel", "pod", name)
		p.node.ztunnel = name
	}
	result, err := a.change(ctx, config, p)
	a.report(result, p, s)
	if err != nil {
		p.node.ok, p.node.tried, p.node.failed = false, config, fmt.Errorf("programming the node: %w", err)
		return p.node.failed
	}
	p.node.ok, p.node.config, p.node.failed, p.installed = true, config, nil, true
	a.Metrics.enrolled.Set(float64(len(config.Pods) - len(p.node.refused)))
	return nil
}

// release ends the capture of pods that are no longer to be captured. An address
// that another pod has taken over stays.
func (a *Agent) release(ctx context.Context, s *mesh.Snapshot, p *pass) error {
	if !p.node.ok || p.served == s {
		return nil
	}
	stays := map[netip.Addr]bool{}
	for _, pod := range enrolled(s, a.NodeName) {
		stays[pod.IP] = true
	}
	var leave, rest []noderoute.Pod
	for _, pod := range p.node.config.Pods {
		if stays[pod.IP] {
			rest = append(rest, pod)
		} else {
			leave = append(leave, pod)
			delete(p.node.refused, pod.UID)
		}
	}
	if len(leave) == 0 {
		return nil
	}
	result, err := a.Node.UpdatePods(ctx, p.node.config, nil, leave)
	a.report(result, p, s)
	if err != nil {
		p.node.ok = false
		return fmt.Errorf("releasing pods: %w", err)
	}
	p.node.config.Pods = rest
	return nil
}

// releaseEarly ends captures while the push of what changed has to wait. If that
// fails, the sync that comes with the push repairs the node as a whole.
func (a *Agent) releaseEarly(ctx context.Context, s *mesh.Snapshot, p *pass) {
	err := a.release(ctx, s, p)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.tried(err)
		a.Log.Error("pods are still captured that should not be", "err", err)
	}
	a.tell(s, p)
}

// change compares the whole node with the plan, except where this run has done
// so and only pods have come or gone since: then it handles these.
func (a *Agent) change(ctx context.Context, config noderoute.HostConfig, p *pass) (noderoute.Result, error) {
	if p.node.ok && !p.check && sameBut(config, p.node.config) {
		add, remove := podChanges(p.node.config.Pods, config.Pods)
		for _, pod := range remove {
			delete(p.node.refused, pod.UID)
		}
		if len(add)+len(remove) == 0 {
			return noderoute.Result{}, nil
		}
		return a.Node.UpdatePods(ctx, config, add, remove)
	}
	if !p.node.ok {
		problems, err := a.Node.Preflight(ctx, config)
		if err := errors.Join(err, blocked(noderoute.Blocking(problems))); err != nil {
			return noderoute.Result{}, err
		}
		for _, problem := range problems {
			a.Log.Warn("preflight", "where", problem.Where, "what", problem.What, "way_out", problem.WayOut)
		}
	}
	start := time.Now()
	result, err := a.Node.Apply(ctx, config)
	if p.node.ok && reflect.DeepEqual(config, p.node.config) {
		a.drifted(result, p, time.Since(start))
	}
	a.drained(result, p)
	p.forgive(result)
	return result, err
}

// errPassing says that what went wrong may pass by itself.
var errPassing = errors.New("waiting for the node's pods")

// blocked is Problems, and wraps errPassing where all of them may pass.
func blocked(found []noderoute.Problem) error {
	err := Problems(found)
	if err == nil || slices.ContainsFunc(found, func(p noderoute.Problem) bool { return !p.Passing }) {
		return err
	}
	return fmt.Errorf("%w: %w", errPassing, err)
}

// forgive forgets the pods that a comparison of the whole node did not refuse.
func (p *pass) forgive(r noderoute.Result) {
	maps.DeleteFunc(p.node.refused, func(uid, _ string) bool {
		return !slices.ContainsFunc(r.Refused, func(e *noderoute.PodError) bool { return e.Pod.UID == uid })
	})
}

// takeDown leaves the node without a data path: pods talk plainly.
func (a *Agent) takeDown(ctx context.Context, s *mesh.Snapshot, p *pass) error {
	if p.node.down && !p.check {
		return nil
	}
	if err := p.heldBack(noderoute.HostConfig{}); err != nil {
		return err
	}
	if p.node.ztunnel != "" || !p.installed {
		a.Log.Warn("no ready ztunnel on this node; pods talk plainly")
	}
	p.node = programmed{}
	result, err := a.Node.Cleanup(ctx)
	a.report(result, p, s)
	if err != nil {
		p.node.failed = fmt.Errorf("taking the data path down: %w", err)
		return p.node.failed
	}
	p.node.down, p.installed = true, true
	a.Metrics.enrolled.Set(0)
	return nil
}

// report counts and logs what was done to the node.
func (a *Agent) report(r noderoute.Result, p *pass, s *mesh.Snapshot) {
	a.Metrics.wrote(r)
	for _, change := range r.Changes {
		a.Log.Info("changed the node", "change", change)
	}
	for _, warning := range r.Warnings {
		a.Log.Warn("look at the node", "warning", warning)
	}
	for _, pod := range r.Refused {
		why := pod.Err.Error()
		if p.node.refused[pod.Pod.UID] != why {
			a.Log.Warn("a pod is not captured", "pod", podName(s, pod.Pod.UID), "ip", pod.Pod.IP, "why", pod.Err)
		}
		if p.node.refused == nil {
			p.node.refused = map[string]string{}
		}
		p.node.refused[pod.Pod.UID] = why
	}
}

// drained counts and logs what came of the connections of ztunnels that were
// replaced.
func (a *Agent) drained(r noderoute.Result, p *pass) {
	if r.Replaced.IsValid() {
		a.Metrics.drained.Add(float64(r.Drained))
		a.Log.Info("another ztunnel took over; open connections stay with the one before", "before", r.Replaced, "connections", r.Drained)
	}
	if r.Ended {
		a.Log.Info("a ztunnel does not drain any more")
	}
	if len(r.Undrained) > 0 && !slices.Equal(r.Undrained, p.undrained) {
		a.Log.Warn("too many ztunnels have connections of before; those of the oldest are given up", "at_most", noderoute.DrainSlots, "given_up", r.Undrained)
	}
	p.undrained = r.Undrained
}

// podName is the name of a pod as people write it.
func podName(s *mesh.Snapshot, uid string) string {
	for i := range s.Workloads {
		if w := &s.Workloads[i]; w.UID == uid {
			return w.Namespace + "/" + w.Name
		}
	}
	return uid
}

// sameBut reports whether two configurations differ in their pods at most.
func sameBut(a, b noderoute.HostConfig) bool {
	a.Pods, b.Pods = nil, nil
	return reflect.DeepEqual(a, b)
}

// podChanges are the pods to enrol and those to release on the way from old to
// now. A pod that took over another's address is enrolled; its address stays.
func podChanges(old, now []noderoute.Pod) (add, remove []noderoute.Pod) {
	before := make(map[noderoute.Pod]bool, len(old))
	for _, pod := range old {
		before[pod] = true
	}
	for _, pod := range now {
		if !before[pod] {
			add = append(add, pod)
		}
		delete(before, pod)
	}
	for _, pod := range old {
		if before[pod] {
			remove = append(remove, pod)
		}
	}
	return add, remove
}

// HostConfig is what the node needs to know of the snapshot: the addresses of the
// active ztunnel, of others that may have connections, and of the host, and the pods
// to capture.
func HostConfig(s *mesh.Snapshot, node string, ztunnel *mesh.Workload) (noderoute.HostConfig, error) {
	host, err := s.HostIP(node)
	if err != nil {
		return noderoute.HostConfig{}, err
	}
	return noderoute.HostConfig{
		ZtunnelIP: ztunnel.IP, Draining: s.OtherZtunnels(node), HostIP: host, DNSCapture: ztunnel.DNSCapture, Pods: enrolled(s, node),
	}, nil
}

// Hardened says whether the rules of such a ztunnel's node are hardened as well: the
// profile does not only concern what is served.
func Hardened(form envoyconfig.Options) bool { return form.Profile == envoyconfig.Hardened }

// enrolled are the pods that a node is to capture.
func enrolled(s *mesh.Snapshot, node string) []noderoute.Pod {
	var pods []noderoute.Pod
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Node == node && w.Enrolled() {
			pods = append(pods, noderoute.Pod{UID: w.UID, IP: w.IP})
		}
	}
	return pods
}

// Problems joins what a preflight found into one error, nil where it found nothing.
func Problems(found []noderoute.Problem) error {
	if len(found) == 0 {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "this node can't carry the data path (%d found, nothing was changed):", len(found))
	for _, problem := range found {
		fmt.Fprintf(&text, "\n  - %s", problem)
	}
	return errors.New(text.String())
}
