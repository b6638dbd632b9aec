#!/usr/bin/env bash
# Renders the chart to the plain manifests in hack/manifests, for those who have
# neither Helm nor ambientctl. --check writes nothing and fails if they would change.
source "$(dirname "$0")/lib.sh"

# Each manifest and the values that differ from the chart's own.
manifests=(
  "default"
  "embedded engine=embedded"
  "hardened profile=hardened"
  "vxlan tunnel=vxlan engine=embedded"
)

render() {
  local name=$1 value flags=(--set createNamespace=true)
  shift
  for value in "$@"; do
    flags+=(--set "$value")
  done
  echo "# Made by hack/manifests.sh from the chart in hack/chart${*:+, with $*}."
  "$scratch/render" "${flags[@]}"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go build -o "$scratch/render" ./hack/chart/render
mkdir "$scratch/manifests"
for manifest in "${manifests[@]}"; do
  read -ra words <<<"$manifest"
  render "${words[@]}" >"$scratch/manifests/${words[0]}.yaml"
done
if [[ ${1:-} == --check ]]; then
  diff -ru --exclude='*.go' hack/manifests "$scratch/manifests" || die "hack/manifests is not what the chart makes: run hack/manifests.sh"
  exit
fi
mkdir -p hack/manifests
rm -f hack/manifests/*.yaml
cp "$scratch"/manifests/*.yaml hack/manifests/
