#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The PR contract on tgt, without any kernel SCSI: tgtd (from the machine, or from the lab's root
# tree) in a network and mount namespace of its own, three libiscsi initiators.
# Exit 77 names what is missing.
set -u
top=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
skip() {
	echo "skipped: $1"
	exit 77
}
if [ "${1:-}" != inside ]; then
	program=$(pwd)/pr_contract_lun
	[ -x "$program" ] || {
		echo "$program is not built" >&2
		exit 99
	}
	[ "$(id -u)" = 0 ] || skip "needs root for a network namespace"
	unshare -n -m true 2>/dev/null || skip "no network and mount namespaces here"
	tree=
	for t in / "${LAB_CACHE:-$top/build/lab}"/root*; do
		[ -x "$t/usr/sbin/tgtd" ] && [ -x "$t/usr/sbin/tgtadm" ] && tree=$t && break
	done
	[ -n "$tree" ] || skip "no tgtd (package tgt, or the lab's root tree)"
	exec unshare -n -m --propagation private sh "$0" inside "$tree" "$program"
fi

tree=$2
program=$3
iqn=iqn.2026-11.org.holdfast:contract
tmp=$(mktemp -d) || exit 99
daemon=
finish() {
	# tgtd answers SIGTERM at its leisure; it holds nothing that outlives this test
	[ -n "$daemon" ] && kill -KILL "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
	umount -R "$tmp" 2>/dev/null || umount -l "$tmp" 2>/dev/null
	rmdir "$tmp"
}
trap finish EXIT
ip link set lo up || exit 99
mount --rbind "$tree" "$tmp" || exit 99
mount -t tmpfs tmpfs "$tmp/run" && mount --rbind /proc "$tmp/proc" && mount -t tmpfs tmpfs "$tmp/mnt" && mkdir -p "$tmp/run/tgtd" || exit 99
truncate -s 64M "$tmp/mnt/lun" || exit 99
in_tree() { chroot "$tmp" "$@"; }
chroot "$tmp" /usr/sbin/tgtd -f -C 17 --iscsi portal=127.0.0.1:3260 >"$tmp/mnt/log" 2>&1 &
daemon=$!
tries=0
until in_tree /usr/sbin/tgtadm -C 17 --lld iscsi --op new --mode target --tid 1 -T $iqn 2>/dev/null; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 "$daemon" 2>/dev/null; then
		cat "$tmp/mnt/log" >&2
		exit 1
	fi
	sleep 0.1
done
in_tree /usr/sbin/tgtadm -C 17 --lld iscsi --op new --mode logicalunit --tid 1 --lun 1 -b /mnt/lun &&
	in_tree /usr/sbin/tgtadm -C 17 --lld iscsi --op bind --mode target --tid 1 -I ALL || exit 1
url=iscsi://127.0.0.1/$iqn/1
"$program" tgt "$url?initiator=iqn.2026-11.test:a&isid=800000000a00" \
	"$url?initiator=iqn.2026-11.test:b&isid=800000000b00" \
	"$url?initiator=iqn.2026-11.test:c&isid=800000000c00"
