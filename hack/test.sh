#!/usr/bin/env bash
# The whole test suite: the Go tests (many of them put real rules, routes and
# devices into network namespaces of their own), then the lab. Prints every test
# that ran, and how long each part took. --no-lab leaves the lab out; other
# arguments are passed to go test in place of ./...
source "$(dirname "$0")/lib.sh"
need_root "the tests make network namespaces"

lab=true
packages=()
for argument in "$@"; do
  case $argument in
    --no-lab) lab=false ;;
    *) packages+=("$argument") ;;
  esac
done
if [[ ${#packages[@]} -eq 0 ]]; then
  packages=(./...)
fi

summary=$(mktemp -d)
trap 'rm -rf "$summary"' EXIT

# The summary's program is built first, so that a compiler error in it is not
# taken for one of the tests'.
go_tests() {
  go build -o "$summary/testsummary" ./hack/testsummary || return
  go test -json -count=1 -timeout 20m "${packages[@]}" |
    "$summary/testsummary" -total "$summary/total"
}

part "build" hack/build.sh
part "go tests" go_tests
if $lab; then
  part "lab kernel" lab_kernel
  part "lab" bin/ambientctl lab run article
fi
print_parts
cat "$summary/total"
