// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

const module = "github.com/ambient22/ambient22/"

// rooms says, for each folder that gives a package its place, which of this
// module's other folders it may import. A folder speaks for everything below it
// unless a longer one is listed; one that isn't listed (cmd, hack) may import all.
func rooms() map[string][]string {
	return map[string][]string{
		"internal/mesh":     {},
		"noderoute/nlbatch": {}, // netlink in batches, below all three
		"geneve":            {"noderoute/nlbatch"},
		"ipset":             {"noderoute/nlbatch"},
		"noderoute":         {"geneve", "ipset", "internal/osthread"},
		"envoyconfig":       {"internal/mesh"},
		"xds":               {"envoyconfig"},
		"internal/kube":     {"internal/mesh"},
		"internal/manifest": {"internal/kube", "internal/mesh"},
		"internal/kubeapi":  {"internal/cni", "internal/kube", "internal/mesh"},
		"internal/cni":      {},
		"internal/deploy":   {"internal/kube", "internal/mesh"},
		"internal/ca":       {},
		"internal/csr":      {"internal/ca"},
		"internal/signer":   {"internal/ca", "internal/csr"},
		"internal/osthread": {},
		"internal/hbone":    {},
		"internal/proxy":    {"envoyconfig/workloadmetadata", "internal/hbone"},
		"internal/meshsize": {"envoyconfig", "internal/mesh"},
		"internal/xdsdiff":  {"envoyconfig/workloadmetadata"},
		// The study tools: texts, archives of them, a packet's way through them.
		"internal/dump/syntax": {},
		"internal/dump":        {"internal/osthread"},
		"internal/trace":       {"internal/dump"},
		"internal/trace/story": {"envoyconfig/workloadmetadata", "internal/dump", "internal/proxy/accesslog", "internal/proxy/config", "internal/proxy/match", "internal/proxy/rbac", "internal/trace"},
		"internal/trace/page":  {"internal/trace/story"},
		"internal/trace/prove": {"internal/dump", "internal/osthread", "internal/trace", "ipset", "noderoute"},
		"internal/trace/live":  {"internal/dump", "internal/osthread", "internal/trace"},
		"internal/nodediff":    {"geneve", "internal/dump", "internal/lab/listing", "internal/trace", "internal/trace/page", "ipset", "noderoute"},
		"internal/doctor":      {"internal/dump", "internal/nodediff", "internal/trace", "noderoute"},
		"internal/faults":      {"internal/dump", "internal/nodediff", "internal/trace"},
		"internal/agent":       {"envoyconfig", "geneve", "internal/ca", "internal/kube", "internal/mesh", "ipset", "noderoute", "xds"},
		// The cluster knows nothing of the mesh: what is tested in it comes as images.
		"hack/cluster/host":   {"internal/lab/netns"},
		"hack/image":          {},
		"hack/chart":          {"internal/mesh"},
		"hack/cluster/kube":   {"hack/cluster/host", "hack/cluster/pki", "internal/lab/netns"},
		"hack/cluster/pki":    {},
		"hack/cluster/traces": {"internal/lab/netns"},
	}
}

// libraries says which outside libraries only some rooms may import: each of them
// stands for a part of the world that the rest of the code should not know.
func libraries() map[string][]string {
	kernel := []string{"geneve", "internal/dump/collect", "internal/lab", "internal/trace/live", "ipset", "noderoute"}
	envoy := []string{"envoyconfig", "internal/trace/story", "internal/xdsdiff", "internal/proxy", "xds"}
	kubernetes := []string{"internal/csr", "internal/deploy", "internal/kube", "internal/kubeapi", "internal/manifest", "internal/signer", "cmd"}
	client := []string{"internal/csr", "internal/deploy", "internal/kubeapi", "internal/signer", "cmd"}
	return map[string][]string{
		"github.com/vishvananda/netlink":         kernel,
		"github.com/vishvananda/netns":           kernel,
		"github.com/google/nftables":             kernel,
		"github.com/mdlayher/netlink":            kernel,
		"github.com/envoyproxy/go-control-plane": envoy,
		"github.com/containernetworking/cni":     {"internal/cni", "cmd"},
		"github.com/google/go-containerregistry": {"hack/image"},
		"helm.sh/helm":                           {"hack/chart"},
		"k8s.io":                                 kubernetes,
		"k8s.io/client-go":                       client,
		"k8s.io/client-go/kubernetes/scheme":     kubernetes, // types only: manifests are decoded with it
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func checkImports(root string) ([]string, error) {
	packages, err := listPackages(root)
	if err != nil {
		return nil, err
	}
	return importFaults(packages), nil
}

// importFaults judges production code only: tests may look at the kernel, or at
// a neighbour, to see what the package did.
func importFaults(packages []goPackage) []string {
	var faults []string
	for _, p := range packages {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			if reason := refusal(from, imported); reason != "" {
				faults = append(faults, fmt.Sprintf("%s: imports %s: %s", from, imported, reason))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// refusal is why the package may not import that path, or "".
func refusal(from, imported string) string {
	if to, ok := strings.CutPrefix(imported, module); ok {
		room, allowed := longest(rooms(), from)
		if room == "" || within(to, room) || slices.ContainsFunc(allowed, func(a string) bool { return within(to, a) }) {
			return ""
		}
		return room + " may import only " + list(allowed)
	}
	library, allowed := longest(libraries(), imported)
	if library == "" || slices.ContainsFunc(allowed, func(a string) bool { return within(from, a) }) {
		return ""
	}
	return "only " + list(allowed) + " may"
}

// longest is the entry whose key is the longest folder the path lies in.
func longest(table map[string][]string, path string) (key string, value []string) {
	for k, v := range table {
		if within(path, k) && len(k) > len(key) {
			key, value = k, v
		}
	}
	return key, value
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of this module"
	}
	return strings.Join(names, ", ")
}

func listPackages(root string) ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the list of packages: %w", err)
		}
		packages = append(packages, p)
	}
}
