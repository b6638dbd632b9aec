// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/cmd/internal/daemon"
	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
)

// The environment variables that a pod's manifest fills by the downward API, and
// that flags take their defaults from.
const (
	envPodName      = "POD_NAME"
	envPodNamespace = "POD_NAMESPACE"
	envPodIP        = "INSTANCE_IP"
	envNodeName     = "NODE_NAME"
)

// The engines that can carry the traffic.
const (
	engineEmbedded = "embedded"
	engineEnvoy    = "envoy"
)

// proxyOptions are the flags of run and bootstrap, as they are typed.
type proxyOptions struct {
	podName, podNamespace, podIP, nodeName, clusterID string

	xdsSocket string
	delta     bool

	engine        string
	envoyPath     string
	concurrency   uint
	drain         time.Duration
	adminAddr     string
	adminAnywhere bool
	readinessAddr string
	metricsAddr   string
	logLevel      string
	logFormat     string
}

func (o *proxyOptions) flags(f *pflag.FlagSet, getenv func(string) string) {
	d := bootstrap.Default()
	namespace := getenv(envPodNamespace)
	if namespace == "" {
		namespace = "istio-system"
	}
	f.StringVar(&o.podName, "pod-name", getenv(envPodName), "name of this pod ($"+envPodName+")")
	f.StringVar(&o.podNamespace, "pod-namespace", namespace, "namespace of this pod ($"+envPodNamespace+")")
	f.StringVar(&o.podIP, "pod-ip", getenv(envPodIP), "IPv4 address of this pod ($"+envPodIP+")")
	f.StringVar(&o.nodeName, "node-name", getenv(envNodeName), "node that this pod runs on ($"+envNodeName+")")
	f.StringVar(&o.clusterID, "cluster-id", d.ClusterID, "name of the Kubernetes cluster in the mesh")
	f.StringVar(&o.xdsSocket, "xds-socket", d.XDSSocket, "Unix socket of the node controller, for xDS and certificates")
	f.BoolVar(&o.delta, "delta", d.Delta, "ask for incremental xDS (Istio's proxies did so from 1.22 on)")
	f.StringVar(&o.engine, "engine", engineEmbedded, "what carries the traffic: embedded, or envoy (a real Envoy of istio/proxyv2:1.16)")
	f.StringVar(&o.envoyPath, "envoy-path", "", "the Envoy to start with --engine=envoy")
	f.UintVar(&o.concurrency, "concurrency", 2, "worker threads of that Envoy; 0 is one for each core")
	f.DurationVar(&o.drain, "drain", 5*time.Second, "how long open connections may take to finish once this is told to end")
	f.StringVar(&o.adminAddr, "admin-addr", d.AdminAddr.String(), "address of the admin interface")
	f.BoolVar(&o.adminAnywhere, "admin-anywhere", false, "let --admin-addr be other than loopback; whoever reaches it reads the configuration and can stop the proxy")
	f.StringVar(&o.readinessAddr, "readiness-addr", "", "address of "+admin.ReadinessPath+" for the kubelet, by custom :15021; empty is off")
	f.StringVar(&o.metricsAddr, "metrics-addr", "", "address of "+admin.MetricsPath+" for Prometheus, by custom :15020; empty is off")
	f.StringVar(&o.logLevel, "log-level", "info", "trace, debug, info, warning, error, critical or off")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

// bootstrap checks the flags that end up in the bootstrap.
func (o *proxyOptions) bootstrap() (bootstrap.Options, error) {
	out := bootstrap.Default()
	out.PodName, out.PodNamespace, out.NodeName, out.ClusterID = o.podName, o.podNamespace, o.nodeName, o.clusterID
	out.XDSSocket, out.Delta = o.xdsSocket, o.delta
	var errs []error
	for _, required := range []struct{ flag, env, value string }{
		{"--pod-name", envPodName, o.podName},
		{"--pod-ip", envPodIP, o.podIP},
		{"--node-name", envNodeName, o.nodeName},
	} {
		if required.value == "" {
			errs = append(errs, fmt.Errorf("%s is required (or set $%s)", required.flag, required.env))
		}
	}
	var err error
	if o.drain < 0 {
		errs = append(errs, fmt.Errorf("--drain: %v is less than nothing", o.drain))
	}
	if o.podIP != "" {
		out.PodIP, err = netip.ParseAddr(o.podIP)
		errs = append(errs, flagError("--pod-ip", err))
	}
	out.AdminAddr, err = netip.ParseAddrPort(o.adminAddr)
	errs = append(errs, flagError("--admin-addr", err))
	if err == nil && !o.adminAnywhere && !out.AdminAddr.Addr().IsLoopback() {
		errs = append(errs, flagError("--admin-addr", fmt.Errorf("%w (or give --admin-anywhere)", admin.ErrNotLoopback)))
	}
	if err := errors.Join(errs...); err != nil {
		return bootstrap.Options{}, err
	}
	return out, out.Validate()
}

// logger writes structured log lines to w, at a level that can be changed later.
func (o *proxyOptions) logger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	level, err := admin.ParseLevel(o.logLevel)
	if err != nil {
		return nil, nil, flagError("--log-level", err)
	}
	var current slog.LevelVar
	current.Set(level)
	log, err := daemon.NewLogger(w, o.logFormat, &current)
	return log, &current, err
}

func flagError(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", flag, err)
}
