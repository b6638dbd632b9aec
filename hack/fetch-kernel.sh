#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Puts Debian's kernel into a cache folder, for the lab's QEMU machine, on hosts whose own kernel lacks Geneve.
# Nothing is installed and nothing outside the cache folder is written.
#
#   hack/fetch-kernel.sh              fetch the kernel unless the cache has one, print its folder
#   hack/fetch-kernel.sh --update     look for a newer one even if the cache has one
#   hack/fetch-kernel.sh --cached     print the cached folder or fail; never uses the network
#
# The cache is ${AMBIENT22_CACHE:-${XDG_CACHE_HOME:-~/.cache}/ambient22}/kernel/<release>/ and holds
#   vmlinuz               as packaged
#   vmlinux               the same, unpacked: QEMU starts it directly, which saves seconds without KVM
#   lib/modules/<release> the modules a network lab can need, with the indexes modprobe reads
#   package               name and version of the Debian package
set -euo pipefail

cache=${AMBIENT22_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ambient22}
kernels=$cache/kernel
mode=${1:-fetch}

say() { printf '%s\n' "$*" >&2; }
fail() { say "fetch-kernel: $*"; exit 1; }

# newest_cached prints the folder of the newest kernel in the cache. A kernel's folder appears by one rename, so one
# that is there is whole.
newest_cached() {
	local release
	release=$(find "$kernels" -mindepth 2 -maxdepth 2 -name vmlinuz -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)
	[ -n "$release" ] && printf '%s\n' "$release"
}

need_tools() {
	local missing=() pair
	for pair in "$@"; do
		command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
	done
	[ ${#missing[@]} -eq 0 ] || fail "missing tools; install them with: apt-get install ${missing[*]}"
}

# apt runs apt-get or apt-cache as this user, without apt's own sandbox user: it could not write into our folder.
apt() { "$1" -q -o APT::Sandbox::User="$(id -un)" "${private[@]}" "${@:2}"; }

# use_private_lists fetches package lists into the work folder, for a host whose own lists are missing or out of date
# (updating those would change the host, and needs root).
use_private_lists() {
	say "fetching package lists"
	mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
	private=(-o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache")
	apt apt-get update >&2 || fail "apt-get update failed"
}

find_package() {
	apt apt-cache depends linux-image-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

download() {
	package=$(find_package)
	[ -n "$package" ] && (cd "$work" && apt apt-get download "$package" >&2)
}

# unpack_modules takes only what a machine with virtio devices and a network can use: a quarter of the package.
unpack_modules() {
	local m='./lib/modules/*'
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards --no-wildcards-match-slash \
		'./boot/vmlinuz-*' "$m/modules.builtin" "$m/modules.builtin.modinfo" "$m/modules.order" \
		"$m"/kernel/{arch,crypto,lib,net,security,fs/{9p,erofs,fscache,fuse,netfs,overlayfs}} \
		"$m"/kernel/drivers/{virtio,char/virtio_console.ko,char/hw_random,block/{loop,virtio_blk}.ko} \
		"$m"/kernel/drivers/net/{'*.ko',bonding,ipvlan,vxlan,wireguard} 2>"$work/tar.log" ||
		# Some releases have one of these built in instead; that alone is no failure.
		! grep -v -e 'Not found in archive' -e 'Exiting with failure status' "$work/tar.log" >&2 || fail "unpacking $1 failed"
}

# unpack_image writes the ELF kernel inside a bzImage to $2. Offsets and meaning are the x86 boot protocol's: setup
# sectors at 0x1f1, payload offset and length at 0x248 and 0x24c; all but gzip carry their unpacked size behind them.
unpack_image() {
	local sectors offset length start magic tool=()
	sectors=$(od -An -tu1 -j $((0x1f1)) -N1 "$1") offset=$(od -An -tu4 -j $((0x248)) -N4 "$1")
	length=$(od -An -tu4 -j $((0x24c)) -N4 "$1") start=$(((sectors + 1) * 512 + offset))
	magic=$(od -An -tx1 -j "$start" -N4 "$1" | tr -d ' ')
	case $magic in
	fd377a58) tool=(xz -dc) length=$((length - 4)) ;;
	28b52ffd) tool=(zstd -dc) length=$((length - 4)) ;;
	1f8b*) tool=(gzip -dc) ;;
	esac
	if [ ${#tool[@]} -eq 0 ] || ! command -v "${tool[0]}" >/dev/null; then
		say "the kernel image stays packed (no unpacker for its format); the machine will start more slowly"
		return
	fi
	dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$start" count="$length" status=none | "${tool[@]}" >"$2"
}

case $mode in
fetch) if newest_cached; then exit 0; fi ;;
--cached) newest_cached || fail "no kernel in $kernels; run hack/fetch-kernel.sh"; exit 0 ;;
--update) ;;
*) fail "unknown argument $mode" ;;
esac

[ "$(uname -m)" = x86_64 ] || fail "the lab's machine is x86_64 only, this is $(uname -m)"
need_tools apt-get:apt dpkg-deb:dpkg tar:tar flock:util-linux depmod:kmod xz:xz-utils
mkdir -p "$kernels"
exec 9>"$kernels/.lock"
flock 9
if [ "$mode" = fetch ] && newest_cached; then
	exit 0 # another run fetched it while this one waited
fi

find "$kernels" -mindepth 1 -maxdepth 1 -name '.unpack.*' -exec rm -rf {} + # left by a run that was killed
work=$(mktemp -d "$kernels/.unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
private=()

say "fetching Debian's kernel (70 MB) into $kernels"
download || { use_private_lists && download; } || fail "no package behind linux-image-amd64 could be fetched"
deb=$(find "$work" -maxdepth 1 -name '*.deb')

tree=$work/tree
mkdir "$tree"
unpack_modules "$deb" "$tree"
release=$(basename "$tree"/lib/modules/*)
mv "$tree/boot/vmlinuz-$release" "$tree/vmlinuz"
rmdir "$tree/boot"
unpack_image "$tree/vmlinuz" "$tree/vmlinux"
find "$tree/lib/modules" -name '*.ko.xz' -exec xz -d {} + # newer releases pack them; the machine's init reads plain ones
depmod -b "$tree" "$release"
# shellcheck disable=SC2016 # dpkg's own variables
dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb" >"$tree/package"
chmod 0755 "$tree"

if [ ! -e "$kernels/$release" ]; then
	mv -T "$tree" "$kernels/$release"
elif ! cmp -s "$tree/package" "$kernels/$release/package"; then
	mv -T "$kernels/$release" "$work/old" # same release, newer build
	mv -T "$tree" "$kernels/$release"
fi
printf '%s\n' "$kernels/$release"
