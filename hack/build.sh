#!/usr/bin/env bash
# Builds the three commands into bin/: static, reproducible, and stamped with the
# commit where the checkout has one. Arguments are passed to go build.
source "$(dirname "$0")/lib.sh"

# An exported archive has no git; go build would otherwise fail on asking it.
stamp=false
if git rev-parse --quiet --verify HEAD >/dev/null 2>&1; then
  stamp=true
fi

mkdir -p bin
CGO_ENABLED=0 go build -trimpath -buildvcs="$stamp" -o bin/ "$@" ./cmd/...
