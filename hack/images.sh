#!/usr/bin/env bash
# Makes the container image of this project, bin/images/ambient22.tar: our programs,
# static, Debian's iptables of both variants, and what a dump of a node asks (ip, ipset,
# nft, conntrack), with the libraries they need. Without a container runtime;
# containerd, kind and Docker load the archive.
#
#   hack/images.sh [IMAGE]     IMAGE: its full name; default: the chart's
source "$(dirname "$0")/lib.sh"

# What iptables needs, itself included, and then what the dump's programs need.
# Debian's own lists also have gcc-12-base, libgcc-s1 and netbase, and for programs
# that are left out libdb5.3 and libselinux1, which none of these programs opens.
packages=(iptables libc6 libip4tc2 libip6tc2 libmnl0 libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libxtables12
  iproute2 libbpf1 libbsd0 libcap2 libelf1 libmd0 zlib1g
  ipset libipset13 conntrack nftables libedit2 libgmp10 libjansson4 libnftables1 libtinfo6)
# Of iproute2 only ip is wanted.
unwanted=(arpd bridge ctstat dcb devlink genl lnstat nstat rdma routel rtacct rtmon rtstat ss tc tipc vdpa)

chart_version() { sed -n 's/^appVersion: *"\?\([^"]*\)"\?$/\1/p' hack/chart/Chart.yaml; }

name=${1:-ambient22.test/ambient22:$(chart_version)}
out=bin/images/ambient22.tar
cache=${AMBIENT22_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ambient22}/iptables

# wanted_versions: which package versions apt would take, one on each line; they name
# the folder in the cache, so that an update of Debian's makes a new one.
wanted_versions() {
  local package
  for package in "${packages[@]}"; do
    LC_ALL=C apt-cache policy "$package" | sed -n "s/^  Candidate: /$package=/p"
  done
}

# unpack DIR: puts the programs, libraries and licences of the packages there.
unpack() {
  local into=$1 debs archive program
  debs=$(mktemp -d)
  (cd "$debs" && apt-get download --quiet --option APT::Sandbox::User=root $versions) || return
  for archive in "$debs"/*.deb; do
    dpkg -x "$archive" "$into" || return
  done
  rm -rf "$debs"
  # No man pages and translations, no scripts (there is no shell), no character sets.
  find "$into" \( -path '*/share/*' -a ! -path '*/share/doc/*/copyright' -o -path '*/gconv/*' -o -path "$into/etc/*" \
    -o -name 'ip*tables-apply' \) ! -type d -delete
  for program in "${unwanted[@]}"; do
    rm -f "$into"/{usr/,}{bin,sbin}/"$program"
  done
  rm -rf "$into/usr/lib/tc"
  find "$into" -type d -empty -delete
  printf '%s\n' $versions >"$into/usr/share/doc/packages"
}

for program in apt-get apt-cache dpkg; do
  command -v "$program" >/dev/null || die "$program is missing: the iptables in the image comes from Debian's packages"
done
versions=$(wanted_versions)
[[ $(wc -l <<<"$versions") -eq ${#packages[@]} && $versions != *"(none)"* ]] || die "apt does not know all of: ${packages[*]} (try: apt-get update)"
tree=$cache/$(sha256sum <<<"$versions" | cut -c1-16)

if [[ ! -d $tree ]]; then
  mkdir -p "$cache"
  unfinished=$(mktemp -d "$cache/new-XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  unpack "$unfinished" || die "fetching Debian's iptables failed"
  # Another run may have been faster; its folder is as good.
  mv -T "$unfinished" "$tree" 2>/dev/null || [[ -d $tree ]]
fi

# Without what only debuggers read, which is almost half of the programs.
built=bin/images/programs
rm -rf "$built"
mkdir -p "$built"
hack/build.sh -ldflags="-s -w" -o "$built/"
go run ./hack/image/write --name "$name" --out "$out" --tree "$tree" "$built"/*
echo "$out: $name, $(($(stat -c %s "$out") / 1000000)) MB"
