#!/usr/bin/env bash
# Takes away the kind cluster of hack/kind-up.sh, with all that is in it.
#
#   KIND_CLUSTER_NAME   the cluster's name (ambient22)
#
# To take only the data path out of it: bin/ambientctl uninstall --context kind-ambient22
source "$(dirname "$0")/lib.sh"
source hack/platform.sh

case ${1:-} in
  -h | --help | help) usage kind-down.sh && exit ;;
esac

kind_cluster=${KIND_CLUSTER_NAME:-ambient22}
need kind "https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
if names=$(kind get clusters) && ! has_line "$names" "$kind_cluster"; then
  echo "there is no kind cluster $kind_cluster"
  exit
fi
kind delete cluster --name "$kind_cluster"
