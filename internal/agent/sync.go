// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
)

// Retries of a failed attempt start after firstRetry and double up to lastRetry.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// pass is what one turn of the loop leaves for the next.
type pass struct {
	served    *mesh.Snapshot // the snapshot that the ztunnel is offered
	installed bool           // this run has put the data path on the node, or found none wanted
	checked   bool           // the preflight passed
	ztunnel   string         // the active ztunnel that was last logged
	wait      time.Duration
	timer     <-chan time.Time
}

// again fires when a failed attempt is due once more.
func (p *pass) again() <-chan time.Time { return p.timer }

// done schedules the next attempt after an error and none after a success.
func (p *pass) done(err error) {
	if err == nil {
		p.wait, p.timer = 0, nil
		return
	}
	p.wait = min(max(2*p.wait, firstRetry), lastRetry)
	p.timer = time.After(p.wait)
}

// sync makes what is served, then what is on the node, agree with the snapshot.
// A snapshot whose resources are refused leaves the node alone too: capturing a
// pod whose traffic the ztunnel can't carry would cut it off.
func (a *Agent) sync(ctx context.Context, s *mesh.Snapshot, p *pass) State {
	start := time.Now()
	var state State
	state.Err = a.serve(s, p)
	if state.Err == nil {
		state.Served = true
		state.Err = a.program(ctx, s, p)
		state.Programmed = state.Err == nil
	}
	p.done(state.Err)
	a.Metrics.synced(state, time.Since(start))
	if state.Err != nil && p.installed && ctx.Err() == nil {
		a.Log.Error("the node does not agree with the mesh yet", "err", state.Err, "again_in", p.wait)
	}
	return state
}

// serve offers the snapshot's resources to the ztunnel.
func (a *Agent) serve(s *mesh.Snapshot, p *pass) error {
	if p.served == s {
		return nil
	}
	resources, err := envoyconfig.Build(s, envoyconfig.Options{Node: a.NodeName, ProxyID: a.proxyID(s)})
	if err != nil {
		return fmt.Errorf("building the ztunnel's resources: %w", err)
	}
	if err := a.XDS.Set(resources); err != nil {
		return fmt.Errorf("serving the ztunnel's resources: %w", err)
	}
	identities := make([]string, 0, len(resources.Secrets))
	for _, secret := range resources.Secrets {
		identities = append(identities, secret.Identity)
	}
	a.Identities.Retain(identities)
	p.served = s
	return nil
}

// proxyID names the node's ztunnel as its workload metadata does.
func (a *Agent) proxyID(s *mesh.Snapshot) string {
	if z := s.ActiveZtunnel(a.NodeName); z != nil {
		return z.Name + "." + z.Namespace
	}
	return ""
}

// program puts the data path for the active ztunnel on the node, or takes it
// away where no ztunnel is ready.
func (a *Agent) program(ctx context.Context, s *mesh.Snapshot, p *pass) error {
	ztunnel := s.ActiveZtunnel(a.NodeName)
	if ztunnel == nil {
		a.logZtunnel(p, "")
		result, err := a.Node.Cleanup(ctx)
		a.Metrics.wrote(result)
		p.installed = p.installed || err == nil
		p.checked = false
		a.Metrics.enrolled.Set(0)
		if err != nil {
			return fmt.Errorf("taking the data path down: %w", err)
		}
		return nil
	}
	config, err := HostConfig(s, a.NodeName, ztunnel)
	if err != nil {
		return err
	}
	config.Tunnel, config.TunnelPort = a.Tunnel, a.TunnelPort
	if !p.checked {
		problems, err := a.Node.Preflight(ctx, config)
		if err := errors.Join(err, Problems(problems)); err != nil {
			return err
		}
		p.checked = true
	}
	a.logZtunnel(p, ztunnel.Namespace+"/"+ztunnel.Name)
	result, err := a.Node.Apply(ctx, config)
	a.Metrics.wrote(result)
	for _, change := range result.Changes {
		a.Log.Info("changed the node", "change", change)
	}
	if err != nil {
		return fmt.Errorf("programming the node: %w", err)
	}
	p.installed = true
	a.Metrics.enrolled.Set(float64(len(config.Pods)))
	return nil
}

func (a *Agent) logZtunnel(p *pass, name string) {
	if name == p.ztunnel && p.installed {
		return
	}
	p.ztunnel = name
	if name == "" {
		a.Log.Warn("no ready ztunnel on this node; pods talk plainly")
		return
	}
	a.Log.Info("the node's active ztunnel", "pod", name)
}

// HostConfig is what the node needs to know of the snapshot: the active
// ztunnel's address, the host's, and the pods to capture.
func HostConfig(s *mesh.Snapshot, node string, ztunnel *mesh.Workload) (noderoute.HostConfig, error) {
	host, err := s.HostIP(node)
	if err != nil {
		return noderoute.HostConfig{}, err
	}
	config := noderoute.HostConfig{ZtunnelIP: ztunnel.IP, HostIP: host}
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Node == node && w.Enrolled() {
			config.Pods = append(config.Pods, noderoute.Pod{UID: w.UID, IP: w.IP})
		}
	}
	return config, nil
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
