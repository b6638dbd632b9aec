#!/usr/bin/env bash
# A real Kubernetes with two nodes on this machine (docs/cluster.md):
#
#   hack/cluster.sh up                       build what is missing, start it
#   hack/cluster.sh kubectl get nodes        kubectl as its administrator
#   hack/cluster.sh run -- COMMAND           a command with KUBECONFIG, in its network
#   hack/cluster.sh run --on node-a -- CMD   a command on one of its hosts
#   hack/cluster.sh down                     take everything away
#   hack/cluster.sh build                    only build what is missing
#
# The first of them builds Kubernetes from source, which takes some minutes.
caller=$PWD
source "$(dirname "$0")/lib.sh"
need_root "the cluster makes namespaces, mounts and cgroups"

programs=$PWD/bin/cluster
command=${1:-help}

if [[ $command == build || $command == up || ! -x $programs/cluster ]]; then
  hack/install-deps.sh containerd=containerd runc=runc /usr/lib/cni/ptp=containernetworking-plugins nsenter=util-linux
  hack/build.sh
  mkdir -p "$programs"
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$programs/" ./hack/cluster ./hack/cluster/echo ./hack/cluster/pause
fi
flags=(--binaries "$(hack/cluster/build.sh)")
case $command in
  build) exit ;;
  up) flags+=(--app "$PWD/bin/ambientctl" --echo "$programs/echo" --pause "$programs/pause") ;;
esac
cd "$caller"
exec "$programs/cluster" "$command" "${flags[@]}" "${@:2}"
