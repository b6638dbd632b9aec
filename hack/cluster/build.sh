#!/usr/bin/env bash
# Builds Kubernetes, etcd and kubectl from their released sources, unpatched, into
# a cache folder whose name tells the version and everything else that decides
# what comes out; where that folder is there, nothing is built. Prints the folder.
source "$(dirname "$0")/../lib.sh"

module=hack/cluster/kubernetes
cache=${AMBIENT22_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ambient22}

version=$(sed -nE 's/^\tk8s.io\/kubernetes (v[^ ]*).*/\1/p' "$module/go.mod")
[[ -n $version ]] || die "$module/go.mod names no version of k8s.io/kubernetes"
inputs=$({ go env GOVERSION GOARCH; cat "$module/go.mod" "$module/go.sum" hack/cluster/build.sh; } | sha256sum)
folder=$cache/cluster-$version-${inputs:0:8}

if [[ -d $folder ]]; then
  echo "$folder"
  exit 0
fi

mkdir -p "$cache"
# Two builds at once would each want all the memory there is; the second one
# waits, and finds the folder.
exec 9>"$cache/cluster.lock"
flock 9
if [[ -d $folder ]]; then
  echo "$folder"
  exit 0
fi

# The version is what the API server tells its clients; without these flags it
# would be v0.0.0-master.
stamp=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
done

# Built beside its place and moved there whole: a folder that is there is complete.
unfinished=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$unfinished"' EXIT
echo "building Kubernetes $version, which takes some minutes and 3 GB of Go's build cache" >&2
(
  cd "$module"
  CGO_ENABLED=0 nice -n 19 go build -trimpath -buildvcs=false -ldflags "-s -w$stamp" -o "$unfinished/" tool >&2
)
mv "$unfinished/server" "$unfinished/etcd"
chmod 755 "$unfinished"
mv -T "$unfinished" "$folder"
trap - EXIT
echo "$folder"
