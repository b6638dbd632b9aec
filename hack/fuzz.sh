#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (30 seconds each unless said otherwise).
# What it finds, go test writes to the package's testdata/fuzz: commit it with
# the repair. Arguments are the packages, in place of ./...
source "$(dirname "$0")/lib.sh"

if [[ $# -eq 0 ]]; then
  set -- ./...
fi

found=0
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$@"); do
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    echo "== $package $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package"
    found=$((found + 1))
  done
done
echo "$found fuzz targets ran"
