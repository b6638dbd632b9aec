// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/hack/cluster/pki"
)

const apiServer = "https://" + controlAddress + ":6443"

// kubernetesDir is where every host finds its certificates and settings.
const kubernetesDir = "/etc/kubernetes/"

// controlHost writes the files of the control plane and returns its host.
func (c *Cluster) controlHost(ca *pki.Authority) (*host.Spec, error) {
	s := c.spec(Control)
	f := &files{root: s.Etc() + "/kubernetes"}
	f.pair("ca", ca.Pair, nil)
	server, err := ca.Server("kube-apiserver", controlAddress, firstService, "127.0.0.1",
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	f.pair("apiserver", server, err)
	kubelets, err := ca.Client("kube-apiserver", "system:masters")
	f.pair("kubelets", kubelets, err)
	key, err := pki.SigningKey()
	f.secret("sa.key", key, err)
	for file, user := range map[string]string{
		"controller-manager.kubeconfig": "system:kube-controller-manager",
		"scheduler.kubeconfig":          "system:kube-scheduler",
	} {
		f.kubeconfig(ca, file, user)
	}
	s.Daemons = []host.Daemon{etcd(), apiserver(), controllerManager(), scheduler()}
	return s, f.err
}

// program is a daemon of the built binaries.
func program(name string, flags ...string) host.Daemon {
	return host.Daemon{Name: name, Args: append([]string{host.BinDir + "/" + name}, flags...)}
}

// etcd writes for a cluster that nobody wants back after a crash.
func etcd() host.Daemon {
	return program("etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380")
}

func apiserver() host.Daemon {
	return program("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+controlAddress,
		"--service-cluster-ip-range="+services,
		"--authorization-mode=Node,RBAC", "--anonymous-auth=false",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged",
		"--client-ca-file="+kubernetesDir+"ca.crt",
		// No API server stands behind this one, but the controllers ask who would sign for it.
		"--requestheader-client-ca-file="+kubernetesDir+"ca.crt", "--requestheader-allowed-names=front-proxy-client",
		"--tls-cert-file="+kubernetesDir+"apiserver.crt", "--tls-private-key-file="+kubernetesDir+"apiserver.key",
		"--kubelet-client-certificate="+kubernetesDir+"kubelets.crt", "--kubelet-client-key="+kubernetesDir+"kubelets.key",
		"--kubelet-certificate-authority="+kubernetesDir+"ca.crt",
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+kubernetesDir+"sa.key", "--service-account-signing-key-file="+kubernetesDir+"sa.key",
	)
}

func controllerManager() host.Daemon {
	kubeconfig := kubernetesDir + "controller-manager.kubeconfig"
	return program("kube-controller-manager",
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file="+kubernetesDir+"sa.key", "--root-ca-file="+kubernetesDir+"ca.crt",
		"--cluster-signing-cert-file="+kubernetesDir+"ca.crt", "--cluster-signing-key-file="+kubernetesDir+"ca.key",
	)
}

func scheduler() host.Daemon {
	kubeconfig := kubernetesDir + "scheduler.kubeconfig"
	return program("kube-scheduler",
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1", "--leader-elect=false",
	)
}

// writeAdmin writes the administrator's kubeconfig.
func (c *Cluster) writeAdmin(ca *pki.Authority) error {
	f := &files{root: c.Dir}
	f.kubeconfig(ca, "admin.kubeconfig", "admin", "system:masters")
	if f.err != nil {
		return fmt.Errorf("writing the administrator's kubeconfig: %w", f.err)
	}
	return nil
}
