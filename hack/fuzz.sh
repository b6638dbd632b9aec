#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (30 seconds each unless said otherwise), also
# after one has found something. What one finds, go test writes to the package's
# testdata/fuzz: commit it with the repair. FUZZ picks targets by a regular
# expression, arguments are the packages, in place of ./...
source "$(dirname "$0")/lib.sh"

if [[ $# -eq 0 ]]; then
  set -- ./...
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

results=()
failed=0

# fuzz PACKAGE TARGET: runs one target and notes how it went. The fuzzer looks for a
# smaller form of whatever input reaches new code; unlimited, it would spend all
# its time on that.
fuzz() {
  local status=ok execs
  echo "== $1 $2"
  go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 50x "$1" | tee "$log" || status=FAILED
  [[ $status == ok ]] || failed=$((failed + 1))
  execs=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -1)
  # A short run may end before all inputs that are known already were tried once.
  [[ $status == FAILED || ${execs:-0} -gt 0 ]] || status=short
  results+=("$(printf '%-7s %-22s %9s execs  %s' "$status" "$2" "${execs:-0}" "$1")")
}

# Only packages with a target are built.
while read -r package dir; do
  while read -r target; do
    [[ $target =~ ${FUZZ:-.} ]] || continue
    fuzz "$package" "$target"
  done < <(grep -hoE --include='*_test.go' '^func Fuzz\w*' "$dir"/*.go | sed 's/^func //')
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "$@")

[[ ${#results[@]} -gt 0 ]] || die "no fuzz target found"
echo "== ${#results[@]} targets, ${FUZZTIME:-30s} each"
printf '%s\n' "${results[@]}"
if [[ " ${results[*]}" == *" short "* ]]; then
  echo "short: FUZZTIME was over before all known inputs were tried"
fi
[[ $failed -eq 0 ]] || die "$failed targets have found something"
