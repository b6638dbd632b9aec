// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/xds"
)

// plugins are the flags about CNI plugins, as they are typed.
type plugins struct {
	socket string
	state  string
}

func (p *plugins) flags(f *pflag.FlagSet) {
	f.StringVar(&p.socket, "cni-socket", "", "Unix socket on which CNI plugins (ambient-cni) are answered, such as "+cni.DefaultSocket+"; none without it")
	f.StringVar(&p.state, "cni-config", "", "file for CNI plugins that get no answer, such as "+cni.DefaultState+"; not written without it")
}

// write keeps the file true. It stays when the controller stops: then it is needed.
func (p *plugins) write(log *slog.Logger) func(cni.State) {
	if p.state == "" {
		return nil
	}
	return func(s cni.State) {
		if err := cni.WriteState(p.state, s); err != nil {
			log.Error("CNI plugins that get no answer go by what was true before", "err", err)
		}
	}
}

// serve answers plugins, where there are any and the mesh is a cluster's. settled tells
// whether the ztunnel has accepted everything, and the certificate of that name.
func (p *plugins) serve(ctx context.Context, c cni.Controller, settled func(secret string) bool, log *slog.Logger) error {
	if p.socket == "" || c == nil {
		return nil
	}
	listener, err := xds.Listen(p.socket)
	if err != nil {
		return err
	}
	return cni.Serve(ctx, listener, servedFirst{c, settled, log}, log)
}

const (
	// servedPatience is how long a captured pod is held back until the ztunnel has
	// taken what it was told of it. A pod that starts without loses only its first
	// connections.
	servedPatience = 5 * time.Second
	// servedLook is how often that is looked at.
	servedLook = 5 * time.Millisecond
)

// servedFirst lets a captured pod go when its connections will be carried, too: the
// ztunnel has accepted the configuration with the pod in it, and its certificate.
type servedFirst struct {
	cni.Controller
	settled func(secret string) bool
	log     *slog.Logger
}

// Add is the Controller's, and then waits for the ztunnel.
func (s servedFirst) Add(ctx context.Context, p cni.Pod) (cni.Answer, error) {
	answer, err := s.Controller.Add(ctx, p)
	if err != nil || !answer.Captured {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, servedPatience)
	defer cancel()
	look := time.NewTicker(servedLook)
	defer look.Stop()
	for !s.settled(answer.Secret) {
		select {
		case <-look.C:
		case <-ctx.Done():
			s.log.Warn("a captured pod starts before the ztunnel is known to be ready for it", "pod", p.Namespace+"/"+p.Name, "certificate", answer.Secret)
			return answer, nil
		}
	}
	return answer, nil
}
