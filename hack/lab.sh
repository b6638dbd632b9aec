#!/usr/bin/env bash
# Builds, makes sure that a kernel with Geneve is at hand, and runs the article's
# two nodes. Arguments are passed to `ambientctl lab run article`.
source "$(dirname "$0")/lib.sh"
need_root "the lab makes network namespaces, or starts a machine that does"

hack/build.sh
lab_kernel
exec bin/ambientctl lab run article "$@"
