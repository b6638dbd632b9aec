// SPDX-License-Identifier: Apache-2.0

// Package plugin is the chained CNI plugin: it changes nothing in a pod's network. It
// hands on what the plugin before it made, after the node captures the pod.
package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/ambient22/ambient22/internal/cni"
)

// Name is the plugin's type in a network configuration, and the name of its program.
const Name = "ambient-cni"

// About is what the plugin says of itself to a person who runs it by hand.
const About = "CNI plugin " + Name + ": has pods captured before their first packet"

// refused is the code of an error that trying again does not mend. Codes from 100 on
// are a plugin's own.
const refused = 100

const (
	defaultWait = 20 * time.Second
	// again is how often a controller that does not answer is asked once more.
	again = 250 * time.Millisecond
	// farewell is how long the controller has to take note of a pod that goes. Its
	// network goes in any case.
	farewell = 2 * time.Second
)

// Versions are the versions of the specification that the plugin speaks.
func Versions() version.PluginInfo { return version.VersionsStartingFrom("0.3.1") }

// Plugin answers a container runtime.
type Plugin struct {
	Out io.Writer // where results go
	Err io.Writer // where the runtime's log takes its lines from
}

// Funcs are the plugin's commands.
func (p *Plugin) Funcs() skel.CNIFuncs {
	return skel.CNIFuncs{Add: p.add, Del: p.del, Check: p.check, GC: p.nothing, Status: p.nothing}
}

// conf is the plugin's part of the network configuration.
type conf struct {
	types.PluginConf
	Previous json.RawMessage `json:"prevResult"`
	Socket   string          `json:"socket"`
	State    string          `json:"state"`
	Wait     string          `json:"wait"` // a duration such as 20s

	wait time.Duration
}

func parse(stdin []byte) (*conf, error) {
	c := &conf{Socket: cni.DefaultSocket, State: cni.DefaultState, wait: defaultWait}
	if err := json.Unmarshal(stdin, c); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "reading the network configuration: "+err.Error(), "")
	}
	if c.Wait != "" {
		wait, err := time.ParseDuration(c.Wait)
		if err != nil || wait <= 0 {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("wait: %q is no duration", c.Wait), "write one such as 20s")
		}
		c.wait = wait
	}
	return c, nil
}

// k8sArgs are the runtime's words about the pod, in CNI_ARGS.
type k8sArgs struct {
	types.CommonArgs
	K8S_POD_NAMESPACE types.UnmarshallableString //nolint:revive // the name in CNI_ARGS
	K8S_POD_NAME      types.UnmarshallableString //nolint:revive
	K8S_POD_UID       types.UnmarshallableString //nolint:revive
}

// pod is who the call is about; its name is "" where that is no pod of Kubernetes.
func pod(args *skel.CmdArgs) (cni.Pod, error) {
	words := k8sArgs{CommonArgs: types.CommonArgs{IgnoreUnknown: true}}
	if err := types.LoadArgs(args.Args, &words); err != nil {
		return cni.Pod{}, types.NewError(types.ErrInvalidEnvironmentVariables, "reading CNI_ARGS: "+err.Error(), "")
	}
	return cni.Pod{
		ContainerID: args.ContainerID,
		Namespace:   string(words.K8S_POD_NAMESPACE), Name: string(words.K8S_POD_NAME), UID: string(words.K8S_POD_UID),
	}, nil
}

// addresses are those of the pod itself, as the plugins before made them.
func (c *conf) addresses() ([]netip.Addr, error) {
	if len(c.Previous) == 0 || string(c.Previous) == "null" {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, Name+" has nothing before it in the list of plugins",
			"put it behind the plugin that makes the pods' interfaces")
	}
	previous, err := version.NewResult(c.CNIVersion, c.Previous)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "reading prevResult: "+err.Error(), "")
	}
	result, err := types100.NewResultFromResult(previous)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "reading prevResult: "+err.Error(), "")
	}
	var all []netip.Addr
	for _, ip := range result.IPs {
		if i := ip.Interface; i != nil && *i >= 0 && *i < len(result.Interfaces) && result.Interfaces[*i].Sandbox == "" {
			continue // the host's end
		}
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok && !slices.Contains(all, a.Unmap()) {
			all = append(all, a.Unmap())
		}
	}
	return all, nil
}

func (p *Plugin) add(args *skel.CmdArgs) error {
	c, who, err := read(args)
	if err != nil {
		return err
	}
	if who.IPs, err = c.addresses(); err != nil {
		return err
	}
	if who.Name != "" && len(who.IPs) > 0 {
		if err := p.enrol(c, who); err != nil {
			return err
		}
	}
	if _, err := p.Out.Write(append(slices.Clone(c.Previous), '\n')); err != nil {
		return types.NewError(types.ErrIOFailure, "writing the result: "+err.Error(), "")
	}
	return nil
}

func read(args *skel.CmdArgs) (*conf, cni.Pod, error) {
	c, err := parse(args.StdinData)
	if err != nil {
		return nil, cni.Pod{}, err
	}
	who, err := pod(args)
	return c, who, err
}

// enrol waits until the pod is captured or known to take no part. Without a
// controller only pods of namespaces that take part are held up.
func (p *Plugin) enrol(c *conf, who cni.Pod) error {
	deadline := time.Now().Add(c.wait)
	for {
		_, err := cni.Client{Socket: c.Socket}.Add(context.Background(), who, time.Until(deadline))
		var no *cni.Refusal
		if err == nil || errors.As(err, &no) && !no.Starting {
			return cniError(no)
		}
		state, stateErr := cni.ReadState(c.State)
		if stateErr != nil {
			// Nobody can say who takes part. A node that starts no pods is worse.
			fmt.Fprintf(p.Err, "%s: %s/%s passes: %v\n", Name, who.Namespace, who.Name, stateErr)
			return nil
		}
		if !state.Active(who.Namespace) {
			return nil
		}
		if time.Until(deadline) < again {
			return missing(c, who, state, err)
		}
		time.Sleep(again)
	}
}

// cniError is a refusal as a container runtime understands it.
func cniError(r *cni.Refusal) error {
	if r == nil {
		return nil
	}
	code := uint(refused)
	if r.Again {
		code = types.ErrTryAgainLater
	}
	return types.NewError(code, Name+": "+r.What, r.WayOut)
}

func missing(c *conf, who cni.Pod, state cni.State, err error) error {
	what := fmt.Sprintf("namespace %s takes part in the mesh, and the node controller ambient-node did not answer on %s within %v", who.Namespace, c.Socket, c.wait)
	var starting *cni.Refusal
	if errors.As(err, &starting) {
		what = fmt.Sprintf("namespace %s takes part in the mesh, and after %v %s", who.Namespace, c.wait, starting.What)
	}
	if !state.ZtunnelReady {
		what += "; when it last ran, no ztunnel was ready"
	}
	return types.NewError(types.ErrTryAgainLater, Name+": "+what,
		"look at the pods of DaemonSet ambient-node in istio-system; ambient-cni remove, run on the node, lets pods start outside the mesh")
}

// del never fails: what it has to take away is only what the controller remembers.
func (p *Plugin) del(args *skel.CmdArgs) error {
	c, who, err := read(args)
	if err == nil && who.Name != "" {
		err = cni.Client{Socket: c.Socket}.Del(context.Background(), who, farewell)
	}
	if err != nil {
		fmt.Fprintf(p.Err, "%s: the controller was not told that %s/%s goes: %v\n", Name, who.Namespace, who.Name, err)
	}
	return nil
}

// check asks whether the pod is as it should be; while nobody answers, what was
// made still holds.
func (p *Plugin) check(args *skel.CmdArgs) error {
	c, who, err := read(args)
	if err != nil {
		return err
	}
	if who.IPs, err = c.addresses(); err != nil || who.Name == "" {
		return err
	}
	_, err = cni.Client{Socket: c.Socket}.Check(context.Background(), who, c.wait)
	var no *cni.Refusal
	if errors.As(err, &no) && !no.Starting {
		return cniError(no)
	}
	return nil
}

// nothing is all there is to do: the plugin always takes pods that are outside the
// mesh, and keeps nothing on the node that could be left over.
func (p *Plugin) nothing(args *skel.CmdArgs) error {
	_, err := parse(args.StdinData)
	return err
}
