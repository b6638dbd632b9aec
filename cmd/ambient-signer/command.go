// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/ambient22/ambient22/cmd/internal/daemon"
	"github.com/ambient22/ambient22/internal/signer"
)

func newCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "ambient-signer",
		Short: "Sign the certificates of a cluster's workloads",
		Long: `ambient-signer holds the certificate authority of a cluster's mesh in a Secret, writes its trust
bundle to a ConfigMap, and answers the requests for certificates that the node controllers make
through the cluster's certificates API: it signs for a service account that has a pod on the node
that asks, and refuses everything else. Several may run; one of them leads.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), &o, cmd.ErrOrStderr())
		},
	}
	o.flags(root.Flags())
	return root
}

// serve runs the signer until ctx ends.
func serve(ctx context.Context, o *options, logs io.Writer) error {
	log, err := o.log.Logger(logs)
	if err := errors.Join(err, o.check()); err != nil {
		return err
	}
	klog.SetSlogLogger(log) // client-go has log lines of its own
	name, err := identity()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	config := signer.Config{
		Namespace: o.namespace, Secret: o.secret, Bundle: o.bundle, Lease: o.lease, Identity: name,
		TrustDomain: o.trustDomain, Requester: o.username(),
		TTL: o.certTTL, RootTTL: o.caTTL, BundleFirst: o.bundleFirst, KeepIssued: o.keepIssued, KeepDenied: o.keepDenied,
		Election: signer.DefaultElection(), Log: log, Registerer: registry,
	}
	if err := config.Check(); err != nil {
		return err
	}
	if config.Kubernetes, err = o.connect(); err != nil {
		return err
	}
	s, err := signer.New(config)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Run(ctx) })
	group.Go(func() error { return daemon.ServeHTTP(ctx, s.Handler(registry), o.httpAddr) })
	return group.Wait()
}
