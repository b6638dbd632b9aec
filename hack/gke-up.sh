#!/usr/bin/env bash
# Makes a GKE Standard cluster that the data path can work on, pushes the image to an
# Artifact Registry repository of the same project, puts the data path into the
# cluster, and has one pod call another. Run again, it brings the same cluster up to
# date. THE CLUSTER COSTS MONEY until hack/gke-down.sh has taken it away.
#
#   hack/gke-up.sh [ARGUMENT...]      ARGUMENTs are passed to "ambientctl install",
#                                     for instance: --set profile=hardened
#
# Environment:
#   PROJECT           project (gcloud's current one)
#   ZONE              zone of the cluster (us-central1-c)
#   CLUSTER           the cluster's name (ambient22)
#   NODES             how many nodes (2)
#   MACHINE_TYPE      their machines; their processors must be of this machine's kind (e2-standard-4)
#   IMAGE_TYPE        their system (UBUNTU_CONTAINERD, whose kernel brings the Geneve module)
#   RELEASE_CHANNEL   rapid, regular or stable (regular)
#   SPOT              yes: cheaper machines that Google may take back (no)
#   REPOSITORY        Artifact Registry repository in the zone's region (ambient22)
#   ENGINE            envoy or embedded (envoy; its image is pulled from Docker Hub)
#   TUNNEL            geneve, or vxlan where the nodes' kernel has no Geneve
#   SAMPLE            no: leave the sample workloads out (yes)
#   IMAGE_ARCHIVE, IMAGE_TAG   an image made elsewhere, for machines without apt-get
#   WAIT              how long to wait for pods (5m)
#
# docs/platforms.md says why these.
source "$(dirname "$0")/lib.sh"
source hack/platform.sh
source hack/gke.sh

case ${1:-} in
  -h | --help | help) usage gke-up.sh && exit ;;
esac

settings
need_go
need_gcloud
need_kubectl
need gke-gcloud-auth-plugin "gcloud components install gke-gcloud-auth-plugin (kubectl logs in with it)"
gke_settings
machine_type=${MACHINE_TYPE:-e2-standard-4}
image_type=${IMAGE_TYPE:-UBUNTU_CONTAINERD}
release_channel=${RELEASE_CHANNEL:-regular}
one_of IMAGE_TYPE "$image_type" UBUNTU_CONTAINERD COS_CONTAINERD
one_of RELEASE_CHANNEL "$release_channel" rapid regular stable
one_of SPOT "${SPOT:-no}" yes no
processor=amd64
case $machine_type in
  t2a-* | c4a-* | n4a-*) processor=arm64 ;;
esac
[[ -n $archive || $(go env GOARCH) == "$processor" ]] ||
  die "MACHINE_TYPE=$machine_type has $processor processors, and the image is built for this machine's, $(go env GOARCH): take machines of that kind, or an image made elsewhere (IMAGE_ARCHIVE)"

services() { gcloud services enable container.googleapis.com artifactregistry.googleapis.com --project "$project"; }

create() {
  if exists; then
    echo "the cluster $cluster is there already"
    return
  fi
  local spot=()
  if [[ ${SPOT:-no} == yes ]]; then
    spot=(--spot)
  fi
  # Neither Dataplane V2, which is Cilium, nor network policies, which are Calico's.
  gcloud container clusters create "$cluster" --project "$project" --zone "$zone" --num-nodes "${NODES:-2}" \
    --machine-type "$machine_type" --image-type "$image_type" --release-channel "$release_channel" --enable-ip-alias "${spot[@]}"
}

# check_cluster: a cluster of somebody else's making, or of other defaults, may be one
# that the data path can't work on. None of this can be changed later.
check_cluster() {
  local datapath policies
  datapath=$(described networkConfig.datapathProvider) || return
  [[ $datapath != ADVANCED_DATAPATH ]] ||
    die "$cluster has Dataplane V2, which is Cilium: its eBPF programs pass packets by the data path. Take another name (CLUSTER=...); a cluster made by this script has none"
  policies=$(described networkPolicy.enabled) || return
  [[ $policies != True ]] ||
    die "$cluster enforces network policies with Calico, which drops what ztunnel sends and gives pods a gateway that no tunnel leads to. Take another name (CLUSTER=...)"
  [[ $(described networkConfig.enableIntraNodeVisibility) != True ]] ||
    die "$cluster has intra-node visibility, which sends traffic between a node's pods out of the node. Turn it off: gcloud container clusters update $cluster --project $project --zone $zone --no-enable-intra-node-visibility"
  [[ $(described autopilot.enabled) != True ]] ||
    die "$cluster is an Autopilot cluster, where nobody may change a node's network. Take another name (CLUSTER=...)"
  gcloud container clusters get-credentials "$cluster" --project "$project" --zone "$zone"
}

# make_repository: where the nodes get the image from. They may read this one
# repository, and nothing else by it.
make_repository() {
  local account number
  if ! gcloud artifacts repositories describe "$registry_repository" --project "$project" --location "$region" >/dev/null 2>&1; then
    gcloud artifacts repositories create "$registry_repository" --project "$project" --location "$region" --repository-format docker \
      --description "ambient22 (hack/gke-up.sh)" || return
  fi
  account=$(described nodeConfig.serviceAccount) || return
  if [[ -z $account || $account == default ]]; then
    number=$(gcloud projects describe "$project" --format 'value(projectNumber)') || return
    account=$number-compute@developer.gserviceaccount.com
  fi
  gcloud artifacts repositories add-iam-policy-binding "$registry_repository" --project "$project" --location "$region" \
    --member "serviceAccount:$account" --role roles/artifactregistry.reader >/dev/null || return
  echo "$account may read $registry/$project/$registry_repository"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

part "services" services
part "cluster" create
part "check" check_cluster
part "repository" make_repository
part "image" build_image "$registry/$project/$registry_repository/ambient22"
part "push" push_image "$archive" "$repository:$tag" "$scratch"
# GKE keeps CNI plugins there; what the caller sets goes before it.
part "install" install_into "$context" --set cni.binDir=/home/kubernetes/bin "$@"
part "sample" try_sample "$context"
print_parts
next_steps "$context" "hack/gke-down.sh"
