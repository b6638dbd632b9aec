#!/usr/bin/env bash
# Takes away the cluster of hack/gke-up.sh, with all that is in it, and the repository
# with its images. It asks first.
#
#   hack/gke-down.sh [--yes]     --yes: do not ask
#
# Environment: PROJECT, ZONE, CLUSTER, REPOSITORY, as for hack/gke-up.sh.
#   KEEP_REPOSITORY   yes: leave the images (no)
#
# To take only the data path out of it: bin/ambientctl uninstall
source "$(dirname "$0")/lib.sh"
source hack/platform.sh
source hack/gke.sh

sure=no
case ${1:-} in
  -h | --help | help) usage gke-down.sh && exit ;;
  --yes) sure=yes ;;
  "") ;;
  *) die "unknown argument $1 (see --help)" ;;
esac

need_gcloud
gke_settings
one_of KEEP_REPOSITORY "${KEEP_REPOSITORY:-no}" yes no

confirm() {
  if [[ $sure == yes ]]; then
    return
  fi
  [[ -t 0 ]] || die "this deletes $1: say --yes where nobody can be asked"
  local answer
  read -rp "Delete $1? [y/N] " answer
  [[ $answer == [yY]* ]] || die "nothing was deleted"
}

if exists; then
  confirm "the GKE cluster $cluster in $zone of project $project"
  gcloud container clusters delete "$cluster" --project "$project" --zone "$zone" --quiet
else
  echo "there is no GKE cluster $cluster in $zone of project $project"
fi
if [[ ${KEEP_REPOSITORY:-no} == yes ]]; then
  exit
fi
if gcloud artifacts repositories describe "$registry_repository" --project "$project" --location "$region" >/dev/null 2>&1; then
  confirm "the repository $registry_repository in $region of project $project, with its images"
  gcloud artifacts repositories delete "$registry_repository" --project "$project" --location "$region" --quiet
fi
