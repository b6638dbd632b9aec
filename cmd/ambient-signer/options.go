// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ambient22/ambient22/cmd/internal/daemon"
	"github.com/ambient22/ambient22/internal/csr"
	"github.com/ambient22/ambient22/internal/signer"
)

// Limits of requests to the API server, each second and at once: an answer takes
// four, and a cluster that starts asks for thousands.
const (
	requestsPerSecond = 400
	requestsAtOnce    = 800
)

// options are the flags, as they are typed.
type options struct {
	kubeconfig  string
	namespace   string
	secret      string
	bundle      string
	lease       string
	trustDomain string
	requester   string

	certTTL     time.Duration
	caTTL       time.Duration
	bundleFirst time.Duration
	keepIssued  time.Duration
	keepDenied  time.Duration

	httpAddr string
	log      daemon.Log
}

func (o *options) flags(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file of the cluster; in a pod, its own service account is used without one")
	f.StringVar(&o.namespace, "namespace", "istio-system", "namespace of the objects below")
	f.StringVar(&o.secret, "ca-secret", signer.DefaultSecret, "Secret that holds the certificate authority; made on first use")
	f.StringVar(&o.bundle, "trust-bundle", csr.DefaultBundle, "ConfigMap that the trust bundle is written to")
	f.StringVar(&o.lease, "lease", signer.DefaultLease, "Lease that says which signer leads")
	f.StringVar(&o.trustDomain, "trust-domain", "cluster.local", "SPIFFE trust domain")
	f.StringVar(&o.requester, "requester", "istio-system/ambient-node", "service account of the node controllers, NAMESPACE/NAME; nobody else gets certificates")
	f.DurationVar(&o.certTTL, "cert-ttl", 24*time.Hour, "the longest lifetime of a certificate")
	f.DurationVar(&o.caTTL, "ca-ttl", 10*365*24*time.Hour, "lifetime of a root; it gets a successor when a third of it is left")
	f.DurationVar(&o.bundleFirst, "bundle-first", 24*time.Hour, "how long a new root stands in the trust bundle before it signs")
	f.DurationVar(&o.keepIssued, "keep-issued", time.Minute, "how long an answered request is kept for its node to read")
	f.DurationVar(&o.keepDenied, "keep-denied", time.Hour, "how long a refused request is kept")
	f.StringVar(&o.httpAddr, "http-addr", ":15014", "address of /healthz, /readyz and /metrics")
	o.log.Register(f)
}

// check checks the flags that the signer doesn't check.
func (o *options) check() error {
	var faults []error
	if _, _, err := net.SplitHostPort(o.httpAddr); err != nil {
		faults = append(faults, fmt.Errorf("--http-addr: %w", err))
	}
	if namespace, name, ok := strings.Cut(o.requester, "/"); !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		faults = append(faults, fmt.Errorf("--requester: %q is no service account; write NAMESPACE/NAME", o.requester))
	}
	for flag, name := range map[string]string{"--namespace": o.namespace, "--ca-secret": o.secret, "--trust-bundle": o.bundle, "--lease": o.lease} {
		if name == "" {
			faults = append(faults, fmt.Errorf("%s: a name is missing", flag))
		}
	}
	return errors.Join(faults...)
}

// username is the service account as the API server calls it.
func (o *options) username() string {
	return "system:serviceaccount:" + strings.Replace(o.requester, "/", ":", 1)
}

// connect makes a client of the API server.
func (o *options) connect() (kubernetes.Interface, error) {
	find := func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", o.kubeconfig) }
	if o.kubeconfig == "" {
		find = rest.InClusterConfig
	}
	config, err := find()
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	config = rest.AddUserAgent(config, "ambient-signer")
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	// Built-in kinds have a shorter and quicker form than JSON.
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + ",application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	return client, nil
}

// identity tells this process from every other signer, also from an earlier one of
// the same pod.
func identity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("asking for the host's name: %w", err)
	}
	var suffix [4]byte
	rand.Read(suffix[:]) // never fails
	return host + "_" + hex.EncodeToString(suffix[:]), nil
}
