// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

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

// serve answers plugins, where there are any and the mesh is a cluster's.
func (p *plugins) serve(ctx context.Context, c cni.Controller, log *slog.Logger) error {
	if p.socket == "" || c == nil {
		return nil
	}
	listener, err := xds.Listen(p.socket)
	if err != nil {
		return err
	}
	return cni.Serve(ctx, listener, c, log)
}
