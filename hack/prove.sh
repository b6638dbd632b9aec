#!/usr/bin/env bash
# Compares the tracer's engine with the kernel: random rules, ip rules, routes, sets
# and packets in network namespaces of their own. Prints the seed, which makes the
# same again. Options: --packets N, --seed N, --v, and others (--help).
source "$(dirname "$0")/lib.sh"
need_root "the kernel is asked in network namespaces"

go run ./hack/prove "$@"

# Every fault of the data path in a running lab, against what diff and trace say of it
# (docs/faults.md). Whoever asks for something in particular gets that alone.
if [[ $# -eq 0 ]]; then
  AMBIENT22_FAULTS=all go test -count=1 -timeout 60m -run TestFaultsInTheKernel ./internal/faults
fi
