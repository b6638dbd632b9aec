#!/usr/bin/env bash
# Checks what no test checks: formatting, go vet, staticcheck, the repository's
# own habits (hack/verify), golden files that no test would write today, and the
# scripts. Runs every check even if one fails, and ends with which did.
source "$(dirname "$0")/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

formatted() {
  local files
  files=$(git ls-files --cached --others --exclude-standard '*.go' | while read -r file; do
    [[ -e $file ]] && echo "$file"
  done)
  files=$(xargs --no-run-if-empty gofmt -l <<<"$files")
  [[ -z $files ]] || {
    echo "not formatted (gofmt -w): $files"
    return 1
  }
}

# The linter has a module of its own, so that its dependencies are none of ours.
staticchecked() { go tool -modfile=hack/tools/go.mod staticcheck ./...; }

scripts() {
  if ! command -v shellcheck >/dev/null; then
    hack/install-deps.sh || return
  fi
  shellcheck --severity=warning hack/*.sh hack/cluster/*.sh .ci/run
}

# golden_tests PACKAGE: a pattern for the tests that stand in files which write golden
# ones. The other tests, some of which bring up a lab, have nothing to write.
golden_tests() {
  grep -lE 'golden\.Check|golden\(|\*update' "$1"/*_test.go | xargs --no-run-if-empty grep -hoE '^func Test\w+' | sed 's/^func /^/; s/$/$/' | paste -sd'|'
}

# golden: packages whose tests compare with golden files (internal/golden, or a flag
# -update of their own) write them anew in a copy of the checkout, and nothing may
# differ from what is committed.
golden() {
  local copy=$scratch/copy packages
  packages=$(git grep --untracked -lE 'ambient22/internal/golden"|flag\.Bool\("update"' -- '*_test.go' | xargs --no-run-if-empty -n 1 dirname | sort -u)
  [[ -n $packages ]] || return 0
  mkdir "$copy"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory="$copy" 2>/dev/null || true
  for package in $packages; do
    (cd "$copy" && go test -count=1 -run "$(golden_tests "$package")" "./$package" -args -update >"$scratch/golden.log" 2>&1) || {
      cat "$scratch/golden.log"
      return 1
    }
    [[ ! -d $package/testdata ]] || diff -ru "$package/testdata" "$copy/$package/testdata" || return 1
  done
  # Some pages of the docs are written by tests, too; a picture is never the same.
  diff -ru --exclude='*.png' docs "$copy/docs"
}

failed=()

check() {
  local name=$1 from=$SECONDS
  shift
  if "$@"; then
    printf 'ok      %-20s %3ds\n' "$name" $((SECONDS - from))
  else
    printf 'FAILED  %-20s %3ds\n' "$name" $((SECONDS - from))
    failed+=("$name")
  fi
}

check "gofmt" formatted
check "go mod verify" go mod verify
check "go vet" go vet ./...
check "staticcheck" staticchecked
check "habits" go run ./hack/verify
check "golden files" golden
check "manifests" hack/manifests.sh --check
check "shellcheck" scripts

[[ ${#failed[@]} -eq 0 ]] || die "failed: ${failed[*]}"
