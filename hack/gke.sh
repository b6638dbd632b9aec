#!/usr/bin/env bash
# Sourced by gke-up.sh and gke-down.sh: what they call things, and how they ask.

need_gcloud() { need gcloud "https://cloud.google.com/sdk/docs/install"; }

# The scripts that source this use all of these.
# shellcheck disable=SC2034
# gke_settings: which cluster is meant, and who asks.
gke_settings() {
  local account
  account=$(gcloud config get-value account 2>/dev/null) || true
  [[ -n $account && $account != "(unset)" ]] || die "gcloud knows no account: gcloud auth login"
  project=${PROJECT:-$(gcloud config get-value project 2>/dev/null)} || true
  [[ -n $project && $project != "(unset)" ]] || die "no project is chosen: set PROJECT, or: gcloud config set project NAME"
  zone=${ZONE:-us-central1-c}
  [[ $zone =~ ^([a-z]+-[a-z]+[0-9]+)-[a-z]$ ]] || die "ZONE=$zone is no zone, such as us-central1-c"
  region=${BASH_REMATCH[1]}
  cluster=${CLUSTER:-ambient22}
  context=gke_${project}_${zone}_$cluster
  registry=$region-docker.pkg.dev
  registry_repository=${REPOSITORY:-ambient22}
}

# described FIELD: one field of the cluster, empty where it is not set.
described() {
  gcloud container clusters describe "$cluster" --project "$project" --zone "$zone" --format "value($1)"
}

# exists: a list, because a failed describe may have other reasons.
exists() {
  local names
  names=$(gcloud container clusters list --project "$project" --zone "$zone" --filter "name=$cluster" --format 'value(name)') ||
    die "gcloud can't list the clusters of project $project (see its message)"
  has_line "$names" "$cluster"
}

crane() { go tool -modfile=hack/tools/go.mod crane "$@"; }

# push_image ARCHIVE NAME SCRATCH: the login goes into the scratch folder, and with it.
push_image() {
  local login=$3/login layout=$3/layout token
  token=$(gcloud auth print-access-token) || return
  mkdir "$login" "$layout" || return
  tar -x -C "$layout" -f "$1" || return
  DOCKER_CONFIG=$login crane auth login "$registry" --username oauth2accesstoken --password-stdin <<<"$token" || return
  DOCKER_CONFIG=$login crane push "$layout" "$2"
}
