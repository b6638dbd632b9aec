#!/usr/bin/env bash
# Brings up a kind cluster with two workers and kindnet, puts the data path into it,
# and has one pod call another. Run again, it brings the same cluster up to date.
#
#   hack/kind-up.sh [ARGUMENT...]     ARGUMENTs are passed to "ambientctl install",
#                                     for instance: --set profile=hardened
#
# Environment:
#   KIND_CLUSTER_NAME            the cluster's name (ambient22)
#   KIND_NODE_IMAGE              node image, for another version of Kubernetes (kind's)
#   KIND_EXPERIMENTAL_PROVIDER   docker, podman or nerdctl, as for kind itself (docker)
#   ENGINE                       envoy or embedded (envoy; its image is pulled by the nodes)
#   TUNNEL                       geneve, or vxlan where this machine's kernel has no Geneve
#   SAMPLE                       no: leave the sample workloads out (yes)
#   IMAGE_ARCHIVE, IMAGE_TAG     an image made elsewhere, for machines without apt-get
#   WAIT                         how long to wait for pods (5m)
#
# hack/kind-down.sh takes it away. docs/platforms.md says more.
source "$(dirname "$0")/lib.sh"
source hack/platform.sh

case ${1:-} in
  -h | --help | help) usage kind-up.sh && exit ;;
esac

kind_cluster=${KIND_CLUSTER_NAME:-ambient22}
context=kind-$kind_cluster
runtime=${KIND_EXPERIMENTAL_PROVIDER:-docker}
settings
one_of KIND_EXPERIMENTAL_PROVIDER "$runtime" docker podman nerdctl
need_go
need kind "https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
need_kubectl
need "$runtime" "kind runs its nodes as containers; install it, or choose with KIND_EXPERIMENTAL_PROVIDER"
"$runtime" info >/dev/null 2>&1 || die "$runtime does not answer ($runtime info says why): start it, or see whether you may use it"

# cluster_config: two workers, as in the article; kube-proxy by iptables and kindnet,
# which gives each pod a veth and a route, are what kind takes by itself, too.
cluster_config() {
  cat <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  ipFamily: ipv4
  kubeProxyMode: iptables
  disableDefaultCNI: false
nodes:
  - role: control-plane
  - role: worker
  - role: worker
END
}

exists() {
  local names
  names=$(kind get clusters) || die "kind can't list its clusters (kind get clusters)"
  has_line "$names" "$kind_cluster"
}

create() {
  if exists; then
    echo "the cluster $kind_cluster is there already"
    return
  fi
  local image=()
  if [[ -n ${KIND_NODE_IMAGE:-} ]]; then
    image=(--image "$KIND_NODE_IMAGE")
  fi
  cluster_config | kind create cluster --name "$kind_cluster" --config - --wait 3m "${image[@]}"
}

# check_nodes: what stands in the way on a node is better told before the install. A
# node's /tmp is hidden from copies from outside, so the program goes in by a pipe.
check_nodes() {
  local node nodes
  nodes=$(kind get nodes --name "$kind_cluster") || return
  for node in $nodes; do
    echo "$node:"
    "$runtime" exec --interactive "$node" sh -c 'cat >/usr/local/bin/ambient-node && chmod 0755 /usr/local/bin/ambient-node' <bin/ambient-node || return
    if ! "$runtime" exec "$node" ambient-node preflight --tunnel "$tunnel"; then
      die "see docs/preflight.md. The nodes have this machine's kernel: where it lacks a module, load it here (sudo modprobe geneve);" \
        "Docker Desktop's has no Geneve: TUNNEL=vxlan stands in for it"
    fi
  done
}

part "cluster" create
part "image" build_image ambient22.test/ambient22
part "preflight" check_nodes
part "load" kind load image-archive "$archive" --name "$kind_cluster"
part "install" install_into "$context" "$@"
part "sample" try_sample "$context"
print_parts
next_steps "$context" "hack/kind-down.sh"
