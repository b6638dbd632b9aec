// SPDX-License-Identifier: Apache-2.0

// Package host makes hosts of a cluster out of this machine: each has its own
// network, processes, mounts, host name, and /etc, /opt, /run and /var, so that
// a kubelet finds everything where it is on a real node and none of it is the
// machine's own. Only the kernel, the cgroup tree and the machine's programs are
// shared.
//
// A host's first process (InitMain) starts its daemons and starts them again when
// they end. When it is killed, the kernel ends every process of the host, and with
// the last of them go the mounts and the links; so there is nothing to remember for
// a clean end, and nothing that a crash could leave behind but the namespace's name,
// the cgroups and a folder.
package host

import "path/filepath"

// Spec is everything that a host's first process must know.
type Spec struct {
	Cluster  string   `json:"cluster"`  // name of the cluster, to mark its processes
	Name     string   `json:"name"`     // host name
	Dir      string   `json:"dir"`      // the host's files on this machine
	Logs     string   `json:"logs"`     // folder of the daemons' logs
	Binaries string   `json:"binaries"` // folder seen as BinDir
	Daemons  []Daemon `json:"daemons"`
}

// Daemon is a process that always runs on the host.
type Daemon struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // program and arguments, as seen in the host
}

// BinDir is where a host sees Spec.Binaries.
const BinDir = "/opt/kubernetes/bin"

// Marker is the environment variable that every process of a host inherits; its
// value is the cluster's name.
const Marker = "AMBIENT22_CLUSTER"

// Namespace is the name of a host's network namespace.
func Namespace(cluster, host string) string { return cluster + "-" + host }

// LogFile is where a daemon's output goes.
func (s *Spec) LogFile(daemon string) string {
	return filepath.Join(s.Logs, s.Name+"."+daemon+".log")
}

func (s *Spec) namespace() string { return Namespace(s.Cluster, s.Name) }

func (s *Spec) file() string { return filepath.Join(s.Dir, "host.json") }

// Etc is the folder whose files lie over the machine's /etc.
func (s *Spec) Etc() string { return filepath.Join(s.Dir, "etc") }

// Opt is the folder that the host has in place of the machine's /opt.
func (s *Spec) Opt() string { return filepath.Join(s.Dir, "opt") }

// Var is the folder that the host has in place of the machine's /var.
func (s *Spec) Var() string { return filepath.Join(s.Dir, "var") }
