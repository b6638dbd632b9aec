#!/usr/bin/env bash
# Starts a real Kubernetes with two nodes on this machine, installs the data path into
# it, tests it, takes all of it away, and compares what the machine shows with what it
# showed before. Whatever fails, and on Ctrl-C, the cluster is taken away.
source "$(dirname "$0")/lib.sh"
need_root "the cluster makes namespaces, mounts and cgroups"

scratch=$(mktemp -d)
cluster=bin/cluster/cluster
own_name=ambient22-e2e-$$ # beside whatever other cluster there is
up=false

finish() {
  status=$?
  trap - EXIT
  if $up; then
    "$cluster" down --name "$own_name" --keep-logs || status=1
  fi
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Built before the cluster is there: in its network there is no proxy to fetch
# anything from.
build() {
  hack/cluster.sh build || return
  hack/images.sh || return
  go vet -tags e2e ./hack/cluster/... || return
  CGO_ENABLED=0 go test -c -tags e2e -o "$scratch/e2e.test" ./hack/cluster/e2e || return
  go build -o "$scratch/testsummary" ./hack/testsummary
}

kubernetes() { hack/cluster/build.sh >/dev/null; }

start() {
  "$cluster" traces --name "$own_name" >"$scratch/before" || return
  up=true
  hack/cluster.sh up --name "$own_name" || return
  "$cluster" load --name "$own_name" bin/images/ambient22.tar
}

tests() {
  PATH="$PWD/bin:$PATH" hack/cluster.sh run --name "$own_name" -- go tool test2json -t -p hack/cluster/e2e "$scratch/e2e.test" -test.v=test2json -test.timeout=25m |
    "$scratch/testsummary" -total "$scratch/total"
}

stop() {
  "$cluster" down --name "$own_name" || return
  up=false
}

# The kernel takes the last of a namespace away in the background.
nothing_left() {
  local tries
  for tries in {1..50}; do
    "$cluster" traces --name "$own_name" >"$scratch/after" || return
    if cmp -s "$scratch/before" "$scratch/after"; then
      echo "the machine shows the same $(wc -l <"$scratch/after") things as before ($tries. look)"
      return
    fi
    sleep 0.1
  done
  diff "$scratch/before" "$scratch/after"
}

part "kubernetes" kubernetes
part "build" build
part "up" start
part "tests" tests
part "down" stop
part "nothing left" nothing_left
print_parts
cat "$scratch/total"
