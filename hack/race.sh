#!/usr/bin/env bash
# Runs the Go tests under the race detector, which needs a C compiler. Arguments
# are passed to go test in place of ./...
source "$(dirname "$0")/lib.sh"
need_root "the tests make network namespaces"

hack/install-deps.sh gcc=gcc /usr/include/stdlib.h=libc6-dev
if [[ $# -eq 0 ]]; then
  set -- ./...
fi
CGO_ENABLED=1 exec go test -race -count=1 -timeout 20m "$@"
