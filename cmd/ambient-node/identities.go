// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/csr"
	"github.com/ambient22/ambient22/internal/kubeapi"
	"github.com/ambient22/ambient22/xds"
)

// Where certificates come from.
const (
	fromCA  = "ca"
	fromCSR = "csr"
)

// shortestRequest is the shortest lifetime that the certificates API lets anybody
// ask for.
const shortestRequest = 10 * time.Minute

// identities are the flags about certificates, as they are typed.
type identities struct {
	from    string
	caDir   string
	certTTL time.Duration
	bundle  string
}

func (i *identities) flags(f *pflag.FlagSet) {
	f.StringVar(&i.from, "identities", fromCA, "who signs workload certificates: ca (this process, with the CA in --ca-dir) or csr (ambient-signer, asked through the cluster's certificates API)")
	f.StringVar(&i.caDir, "ca-dir", "/var/lib/ambient22/ca", "folder of the embedded CA; made on first use, shared by controllers that share a mesh")
	f.DurationVar(&i.certTTL, "cert-ttl", 24*time.Hour, "lifetime of workload certificates; they are renewed at about half of it")
	f.StringVar(&i.bundle, "trust-bundle", csr.DefaultBundle, "with --identities=csr, the ConfigMap with the trust bundle, in --config-namespace")
}

// checkIdentities checks the flags about certificates.
func (o *options) checkIdentities() error {
	switch o.identities.from {
	case fromCA:
		return nil
	case fromCSR:
	default:
		return fmt.Errorf("--identities: %q is neither %s nor %s", o.identities.from, fromCA, fromCSR)
	}
	var faults []error
	if !o.mesh.Cluster {
		faults = append(faults, errors.New("--identities: csr needs a cluster to ask (--kubeconfig, or run as a pod)"))
	}
	if o.identities.certTTL < shortestRequest {
		faults = append(faults, fmt.Errorf("--cert-ttl: the certificates API takes no request for less than %v", shortestRequest))
	}
	if o.identities.bundle == "" {
		faults = append(faults, errors.New("--trust-bundle: the name of a ConfigMap is missing"))
	}
	return errors.Join(faults...)
}

// authority is a source of certificates that works while it runs.
type authority interface {
	xds.SecretSource
	Run(context.Context) error
}

// authority opens the source that the flags name.
func (o *options) authority(log *slog.Logger, registry prometheus.Registerer) (authority, error) {
	if o.identities.from == fromCA {
		return ca.Open(o.identities.caDir, ca.Options{TrustDomain: o.mesh.TrustDomain, TTL: o.identities.certTTL})
	}
	// A client of its own: requests for certificates don't queue behind other writes.
	client, _, err := kubeapi.Connect(o.cluster.kubeconfig)
	if err != nil {
		return nil, err
	}
	return csr.New(csr.Config{
		Kubernetes: client, Node: o.mesh.Node, TTL: o.identities.certTTL, Log: log, Registerer: registry,
		Bundle: types.NamespacedName{Namespace: o.cluster.namespace, Name: o.identities.bundle},
	}), nil
}
