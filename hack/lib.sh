#!/usr/bin/env bash
# Sourced by the other scripts: goes to the repository's root, makes the system
# binaries findable, and offers functions for what several scripts print.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Debian keeps iptables and friends where an ordinary user's PATH does not look.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# die MESSAGE: ends the script with a message on standard error.
die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# need_root WHY: ends the script when it is not run by root.
need_root() {
  [[ $EUID -eq 0 ]] || die "this needs root: $1 (try: sudo make ...)"
}

parts=()

# part NAME COMMAND...: runs one part of a longer job, remembers how long it took
# and ends the script where it fails.
part() {
  local name=$1 from=$SECONDS status=0
  shift
  echo "== $name"
  "$@" || status=$?
  parts+=("$(printf '%-28s %4ds' "$name" $((SECONDS - from)))")
  if [[ $status -ne 0 ]]; then
    parts[-1]+="  FAILED"
    print_parts
    die "$name failed"
  fi
}

# print_parts: says how long each part took.
print_parts() {
  echo "== time"
  printf '%s\n' "${parts[@]}"
  printf '%-28s %4ds\n' all "$SECONDS"
}

# lab_kernel: fetches a kernel with Geneve for the lab's machine, unless the
# running one has it. It is tried in a namespace that is gone at once.
lab_kernel() {
  if unshare --net ip link add probe type geneve id 1 remote 127.0.0.1 2>/dev/null; then
    return
  fi
  hack/fetch-kernel.sh >/dev/null
}
