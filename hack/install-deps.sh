#!/usr/bin/env bash
# Installs the Debian packages that the tests, the lab and the checks use, and
# only those that are missing: on a machine that has them it does nothing, needs
# no root and no network. --check installs nothing and says what is missing.
# Arguments of the form COMMAND=PACKAGE or /FILE=PACKAGE ask for further ones.
source "$(dirname "$0")/lib.sh"

# A command each package is known by. Commands decide, not packages, so that
# another distribution with the same tools is as good.
wanted=(
  iptables-save=iptables
  ipset=ipset
  ip=iproute2
  nft=nftables
  conntrack=conntrack
  tcpdump=tcpdump
  qemu-system-x86_64=qemu-system-x86
  busybox=busybox-static
  cpio=cpio
  modprobe=kmod
  xz=xz-utils
  shellcheck=shellcheck
  chromium=chromium
  git=git
  curl=curl
)

check_only=false
for argument in "$@"; do
  case $argument in
    --check) check_only=true ;;
    ?*=?*) wanted+=("$argument") ;;
    *) die "unknown argument $argument" ;;
  esac
done

# The language itself is not installed from here: Debian 12's is too old.
check_go() {
  command -v go >/dev/null || die "Go is not installed: get Go $(go_wanted) or newer from https://go.dev/dl"
  go version >/dev/null 2>&1 || die "go.mod asks for Go $(go_wanted): $(go version 2>&1 || true)"
}

go_wanted() { sed -n 's/^go //p' go.mod; }

# static_busybox: the lab's machine starts with busybox before any library is there.
static_busybox() {
  local interpreter
  interpreter=$(LC_ALL=C ldd "$(command -v busybox)" 2>&1) || true
  [[ $interpreter == *"not a dynamic executable"* || $interpreter == *"statically linked"* ]]
}

# provided COMMAND-OR-FILE: whether the machine has it.
provided() { command -v "$1" >/dev/null || [[ -e $1 ]]; }

find_missing() {
  local entry
  missing=()
  for entry in "${wanted[@]}"; do
    provided "${entry%%=*}" || missing+=("${entry#*=}")
  done
  if command -v busybox >/dev/null && ! static_busybox; then
    missing+=(busybox-static)
  fi
}

check_go
find_missing
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi
if $check_only; then
  die "missing packages: ${missing[*]}"
fi
command -v apt-get >/dev/null || die "this is no Debian system; install by hand what provides: ${missing[*]}"
[[ $EUID -eq 0 ]] || die "installing ${missing[*]} needs root; run: sudo apt-get install ${missing[*]}"

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
}

# A package list that is missing or old shows itself by a failed install; only
# then is a new one fetched.
echo "installing ${missing[*]}"
if ! install; then
  apt-get update --quiet
  install || die "apt-get could not install ${missing[*]}"
fi
hash -r
find_missing
[[ ${#missing[@]} -eq 0 ]] || die "still missing after the install: ${missing[*]}"
