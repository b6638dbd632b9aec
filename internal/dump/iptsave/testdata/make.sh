#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Puts each of the shapes into a network namespace of its own and keeps what both
# variants of iptables-save print of it. Needs root, iptables and ipset.
set -eu
cd "$(dirname "$0")"

date='s/ on [A-Z][a-z][a-z] [A-Z].*20[0-9][0-9]$/ on Tue Nov 15 09:00:00 2022/'

one() { # VARIANT SHAPE OPTION
	unshare --net sh -euc '
		for set in $(grep -ho "match-set [^ ]*" "$2" | cut -d" " -f2 | sort -u); do
			case $set in nets) type=hash:ip,port ;; *) type=hash:ip ;; esac
			ipset create "$set" $type
		done
		"iptables-$1-restore" -c <"$2"
		"iptables-$1-save" $3
	' sh "$1" "$2" "$3" 2>"/tmp/make.$$" || { echo "$2: $1: $(cat "/tmp/make.$$")" >&2; }
	rm -f "/tmp/make.$$"
}

for shape in shapes/*.rules; do
	name=$(basename "$shape" .rules)
	for variant in nft legacy; do
		counted=
		if grep -q '^\[' "$shape" || [ "$name" = modules ]; then counted=-c; fi
		one "$variant" "$shape" "$counted" | sed "$date" >"$name-$variant.txt"
	done
done

# What iptables -S prints of one of them, with counters.
unshare --net sh -euc '
	iptables-nft-restore -c <shapes/docker.rules
	iptables-nft -t nat -S -v
' >docker-listed-nft.txt

# A table that iptables cannot show, and one of the other variant.
unshare --net sh -euc '
	nft add table ip nat
	nft add chain ip nat odd "{ type filter hook input priority 0; }"
	iptables-legacy -A INPUT -j ACCEPT
	iptables-nft -t mangle -A INPUT -j ACCEPT
	iptables-nft-save 2>&1
' | sed "$date" >warnings-nft.txt
