#!/usr/bin/env bash
# Runs the benchmarks one package after the other, so that none disturbs another:
# BENCH picks them by a regular expression, arguments are passed to go test in
# place of ./...
source "$(dirname "$0")/lib.sh"
need_root "installing a node is measured on a real kernel, in network namespaces"

hack/install-deps.sh
if [[ $# -eq 0 ]]; then
  set -- ./...
fi
# Packages without a benchmark say nothing worth reading.
go test -p 1 -run '^$' -bench "${BENCH:-.}" -benchmem -timeout 60m "$@" |
  grep -vE '^(\?|PASS$|ok .*\[no tests to run\]|ok .*no test files)'
