#!/usr/bin/env bash
# Sourced by the scripts that bring up a cluster of a platform (docs/platforms.md):
# what they have in common. Needs lib.sh before it.

# usage: prints the comment at a script's head, which is its documentation.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "hack/$1"; }

# need COMMAND WAY_OUT: ends the script where a program is missing.
need() { command -v "$1" >/dev/null || die "$1 is not installed: $2"; }

need_kubectl() { need kubectl "https://kubernetes.io/docs/tasks/tools/"; }

need_go() { need go "Go $(sed -n 's/^go //p' go.mod) or newer, from https://go.dev/dl"; }

# one_of NAME VALUE WORD...: ends the script where a setting is none of these words.
one_of() {
  local name=$1 value=$2 word
  shift 2
  for word in "$@"; do
    [[ $value != "$word" ]] || return 0
  done
  die "$name=$value: it is one of: $*"
}

# has_line TEXT LINE: whether a text has such a line.
has_line() { grep -Fxq -- "$2" <<<"$1"; }

# settings: those that both platforms have, with their defaults.
settings() {
  engine=${ENGINE:-envoy}
  tunnel=${TUNNEL:-geneve}
  sample=${SAMPLE:-yes}
  archive=${IMAGE_ARCHIVE:-}
  one_of ENGINE "$engine" envoy embedded
  one_of TUNNEL "$tunnel" geneve vxlan
  one_of SAMPLE "$sample" yes no
  [[ -z $archive || -e $archive ]] || die "IMAGE_ARCHIVE=$archive: there is no such file; without it, hack/images.sh makes one"
  [[ -z $archive || -n ${IMAGE_TAG:-} ]] || die "IMAGE_TAG must say the tag of the image in IMAGE_ARCHIVE"
}

# The functions below are parts (lib.sh), in which a failed command ends nothing by
# itself.

# programs_tag: a tag that changes with what is in the image, so that a second run
# with other programs rolls them out, and one with the same programs does not.
programs_tag() {
  local main programs=()
  for main in cmd/*/main.go; do
    programs+=("bin/$(basename "$(dirname "$main")")")
  done
  sha256sum "${programs[@]}" | sha256sum | cut -c1-12
}

# build_image REPOSITORY: builds the programs and the image, and sets repository, tag
# and archive. An archive made elsewhere has to have that name in it.
build_image() {
  hack/build.sh || return
  repository=$1
  if [[ -n $archive ]]; then
    tag=$IMAGE_TAG
    return
  fi
  tag=$(programs_tag) || return
  tag=dev-$tag
  hack/images.sh "$repository:$tag" || return
  archive=bin/images/ambient22.tar
}

# install_into CONTEXT [ARGUMENT...]: the data path, with the image of build_image.
install_into() {
  local context=$1
  shift
  bin/ambientctl install --context "$context" --set "image.repository=$repository" --set "image.tag=$tag" \
    --set "engine=$engine" --set "tunnel=$tunnel" --wait "${WAIT:-5m}" "$@"
}

# try_sample CONTEXT: two workloads, and one call between them.
try_sample() {
  local context=$1 page
  if [[ $sample == no ]]; then
    return
  fi
  kubectl --context "$context" apply -f hack/samples/bookinfo.yaml || return
  kubectl --context "$context" --namespace bookinfo rollout status daemonset/sleep --timeout="${WAIT:-5m}" || return
  kubectl --context "$context" --namespace bookinfo rollout status deployment/productpage-v1 --timeout="${WAIT:-5m}" || return
  page=$(kubectl --context "$context" --namespace bookinfo exec daemonset/sleep -- \
    curl --silent --show-error --fail --max-time 20 --retry 5 --retry-all-errors http://productpage:9080/productpage) ||
    die "sleep got no answer from productpage; see: bin/ambientctl status --context $context"
  echo "sleep called productpage:9080 and got ${#page} bytes: $(sed -n 's:.*<title>\(.*\)</title>.*:\1:p' <<<"$page" | head -n 1)"
}

# next_steps CONTEXT DOWN: what a person may do now.
next_steps() {
  cat <<END

The cluster is there. Some things to do with it:
  bin/ambientctl status --context $1
  kubectl --context $1 label namespace NAMESPACE istio.io/dataplane-mode=ambient
  kubectl --context $1 --namespace bookinfo exec daemonset/sleep -- curl -s http://productpage:9080/productpage
  kubectl --context $1 --namespace istio-system logs daemonset/ztunnel
and to take it away again:
  $2
END
}
