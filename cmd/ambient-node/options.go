// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/cmd/internal/daemon"
	"github.com/ambient22/ambient22/cmd/internal/meshflags"
	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/noderoute"
)

// options are the flags, as they are typed.
type options struct {
	mesh    meshflags.Flags
	cluster cluster
	form    meshflags.Form

	iptables   string
	tunnel     string
	tunnelPort uint16
	stateDir   string
	procSys    string

	resync       time.Duration
	pushDelay    time.Duration
	pushInterval time.Duration

	xdsSocket   string
	xdsAllowUID []uint

	identities identities

	plugins plugins

	httpAddr string
	log      daemon.Log
}

// nodeFlags are those that say how to work on the node; every command has them.
func (o *options) nodeFlags(f *pflag.FlagSet) {
	f.StringVar(&o.stateDir, "state-dir", "/run/ambient22", "where the node's earlier sysctls are remembered until cleanup")
	f.StringVar(&o.procSys, "proc-sys", "/proc/sys", "folder below which sysctls are written: a mount of the kernel's own, where /proc/sys is read-only")
	f.StringVar(&o.iptables, "iptables", "auto", "kernel interface of iptables: auto (the one the node uses), nft or legacy")
	f.StringVar(&o.tunnel, "tunnel", "geneve", "tunnel devices: geneve, or vxlan on kernels that have no Geneve (ztunnel init needs the same)")
	f.Uint16Var(&o.tunnelPort, "tunnel-port", geneve.DefaultPort, "UDP port of the tunnel devices and of the rule that lets them pass")
}

// serveFlags are those of the running controller.
func (o *options) serveFlags(f *pflag.FlagSet) {
	f.DurationVar(&o.pushDelay, "push-delay", 5*time.Millisecond, "how long the first change after a quiet time waits for others before the ztunnel is served (at most 10s)")
	f.DurationVar(&o.pushInterval, "push-interval", 100*time.Millisecond, "how long after that later changes are gathered before the ztunnel is served again (at most 1m)")
	f.DurationVar(&o.resync, "resync", 30*time.Second, "how often the kernel is compared with the plan when nothing changed")
	f.StringVar(&o.xdsSocket, "xds-socket", "/run/ambient22/xds.sock", "Unix socket on which xDS and SDS are served")
	f.UintSliceVar(&o.xdsAllowUID, "xds-allow-uid", []uint{0}, "user id that may connect to the socket (repeatable)")
	o.identities.flags(f)
	o.plugins.flags(f)
	f.StringVar(&o.httpAddr, "http-addr", "127.0.0.1:15014", "address of /healthz, /readyz and /metrics")
	o.log.Register(f)
}

// nodeOptions checks the node flags.
func (o *options) nodeOptions() (noderoute.Options, geneve.Kind, error) {
	variant, err1 := noderoute.ParseVariant(o.iptables)
	kind, err2 := geneve.ParseKind(o.tunnel)
	var err3 error
	if o.tunnelPort == 0 {
		err3 = errors.New("--tunnel-port: 0 is no port; the default is 6081")
	}
	if err := errors.Join(flagError("--iptables", err1), flagError("--tunnel", err2), err3); err != nil {
		return noderoute.Options{}, kind, err
	}
	return noderoute.Options{IPTables: variant, StateDir: o.stateDir, ProcSys: o.procSys}, kind, nil
}

// checkServe checks the flags of the running controller that nobody else checks.
func (o *options) checkServe() error {
	_, _, err := net.SplitHostPort(o.httpAddr)
	err = flagError("--http-addr", err)
	if o.resync < time.Second {
		err = errors.Join(err, fmt.Errorf("--resync: %v is shorter than a second", o.resync))
	}
	return errors.Join(err, o.checkIdentities(), waitError("--push-delay", o.pushDelay, longestDelay), waitError("--push-interval", o.pushInterval, longestInterval))
}

// A pod that comes is captured only after the push that tells the ztunnel of it, so
// these waits have an end.
const (
	longestDelay    = 10 * time.Second
	longestInterval = time.Minute
)

func waitError(flag string, wait, longest time.Duration) error {
	if wait < 0 || wait > longest {
		return fmt.Errorf("%s: %v is not between 0 and %v", flag, wait, longest)
	}
	return nil
}

// uids are the users who may ask for configuration and certificates.
func (o *options) uids() []uint32 {
	uids := make([]uint32, len(o.xdsAllowUID))
	for i, uid := range o.xdsAllowUID {
		uids[i] = uint32(uid)
	}
	return uids
}

func flagError(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", flag, err)
}
