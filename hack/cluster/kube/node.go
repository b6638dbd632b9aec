// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"os/exec"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/hack/cluster/pki"
)

// containerdConfig: restrict_oom_score_adj is for machines on which even root may not
// raise a process's chances to survive.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`

const containerdSocket = "/run/containerd/containerd.sock"

// pluginFolders are where distributions and the plugins' own releases put them.
func pluginFolders() []string { return []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} }

// nodeHost writes a node's files and returns its host.
func (c *Cluster) nodeHost(n Node, ca *pki.Authority) (*host.Spec, error) {
	s := c.spec(n.Name)
	f := &files{root: s.Etc()}
	f.write("kubernetes/ca.crt", ca.Pair.Cert, 0o644, nil)
	f.kubeconfig(ca, "kubernetes/kubelet.kubeconfig", "system:node:"+n.Name, "system:nodes")
	f.kubeconfig(ca, "kubernetes/kube-proxy.kubeconfig", "system:kube-proxy")
	server, err := ca.Server("kubelet of "+n.Name, n.Name, n.Address.String())
	f.pair("kubernetes/kubelet", server, err)
	f.settings("kubernetes/kubelet.json", c.kubelet(n))
	f.settings("kubernetes/kube-proxy.json", kubeProxy(n))
	f.settings("cni/net.d/10-ptp.conflist", ptp(n))
	f.write("containerd/config.toml", []byte(containerdConfig), 0o644, nil)
	if f.err != nil {
		return nil, f.err
	}
	plugins := &files{root: s.Opt() + "/cni/bin"}
	for _, name := range []string{"ptp", "host-local", "loopback"} {
		plugins.copyProgram(name, pluginFolders()...)
	}
	containerd, err := exec.LookPath("containerd")
	if err != nil {
		return nil, err
	}
	s.Daemons = []host.Daemon{
		{Name: "containerd", Args: []string{containerd, "--config=/etc/containerd/config.toml"}},
		program("kubelet", "--config="+kubernetesDir+"kubelet.json", "--kubeconfig="+kubernetesDir+"kubelet.kubeconfig",
			"--node-ip="+n.Address.String()),
		program("kube-proxy", "--config="+kubernetesDir+"kube-proxy.json"),
	}
	return s, plugins.err
}

// kubelet is the KubeletConfiguration. Two nodes share this machine's memory and
// disk, so neither takes their fullness for its own.
func (c *Cluster) kubelet(n Node) object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": object{
			"anonymous": object{"enabled": false}, "webhook": object{"enabled": true},
			"x509": object{"clientCAFile": kubernetesDir + "ca.crt"},
		},
		"authorization":                    object{"mode": "Webhook"},
		"tlsCertFile":                      kubernetesDir + "kubelet.crt",
		"tlsPrivateKeyFile":                kubernetesDir + "kubelet.key",
		"containerRuntimeEndpoint":         "unix://" + containerdSocket,
		"cgroupDriver":                     "cgroupfs",
		"cgroupRoot":                       c.cgroup() + "/" + n.Name,
		"failCgroupV1":                     false,
		"localStorageCapacityIsolation":    false,
		"maxOpenFiles":                     20000,
		"oomScoreAdj":                      0,
		"resolvConf":                       "",
		"clusterDomain":                    "cluster.local",
		"imageGCHighThresholdPercent":      100,
		"evictionHard":                     object{"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
		"evictionPressureTransitionPeriod": "5s",
		"nodeStatusUpdateFrequency":        "5s",
	}
}

// kubeProxy is the KubeProxyConfiguration. The limits of conntrack belong to the
// whole machine and stay as they are.
func kubeProxy(n Node) object {
	return object{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"mode":             "iptables",
		"hostnameOverride": n.Name,
		"clusterCIDR":      allPods,
		"clientConnection": object{"kubeconfig": kubernetesDir + "kube-proxy.kubeconfig"},
		"conntrack":        object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}

// ptp is the CNI configuration: a veth and a /32 route per pod.
func ptp(n Node) object {
	return object{
		"cniVersion": "0.4.0", "name": "cluster",
		"plugins": []object{{
			"type": "ptp", "mtu": 1460,
			"ipam": object{
				"type":   "host-local",
				"ranges": [][]object{{{"subnet": n.Pods.String()}}},
				"routes": []object{{"dst": netip.PrefixFrom(netip.IPv4Unspecified(), 0).String()}},
			},
		}},
	}
}
