#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab-long: 8 minutes
# lab: nodes=2 luns=1 fresh seconds=1800
# A VM with a disk on a volume whose vmm has no file, no process, no network and no key: what is left of the world to it; that it is moved
# live there and back, and by save and restore, all the same; that csvd started anew is found again.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
H=/var/lib/hftest # in the nodes
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest

deploy_build n1 n2
for node in n1 n2; do
	on $node mkdir -p $H
	for file in vmlinuz initrd; do lab push $node "$W/$file" $H/$file || fail push; done
done
cluster_make n1 n2
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"
ctl n1 vm create a --kernel $H/vmlinuz --initrd $H/initrd --memory 128M --disk vol1/a.img,size=16M \
	--append "console=ttyS0 hf.ram_mib=8 hf.tell_every=20 hf.interval_ms=20" --timeout 600 || fail "vm create"
ctl n1 vm start a --to n1 --timeout 600 || fail "vm start"
serial_has() { on "$1" grep -aq "$2" /run/holdfast/vm/a/serial.log; }
wait_for 300 "the guest writes its disk" serial_has n1 '^ack '

confined() { # confined NODE: as the vmm there is
	on "$1" sh -c 'p=$(cat /run/holdfast/vm/a/vmm.pid)
		grep -q "^CapBnd:.0000000000000000" /proc/$p/status || echo capabilities
		for t in /proc/$p/task/*; do grep -q "^Seccomp:.2" $t/status || echo "no filter: $(cat $t/comm)"; done
		[ "$(sed -n "s/^NSpid:.*\t//p" /proc/$p/status)" = 1 ] || echo "PID namespace"
		for n in mnt net ipc uts pid; do [ "$(readlink /proc/$p/ns/$n)" != "$(readlink /proc/1/ns/$n)" ] || echo "namespace $n"; done
		[ "$(nsenter -n -t $p ip -o link | wc -l)" = 1 ] || echo "network"
		[ "$(ls /proc/$p/root)" = run ] || echo "root: $(ls /proc/$p/root)"
		grep -q "TCP\|UDP" /proc/$p/net/sockstat && [ "$(awk "/^TCP:/ { print \$3 }" /proc/$p/net/sockstat)" != 0 ] && echo "a TCP socket"
		[ "$(cat /proc/$p/oom_score_adj)" -ge 100 ] || echo "OOM score"
		[ "$(stat -c %u:%a /run/holdfast/vm/a)" = 0:700 ] || echo "run folder"
		find /run/holdfast/vm/a -not -user 0 -o -perm /022 -not -type s
		dmesg | grep "type=1326" | grep "comm=\"vmm" | tail -n 3'
}
is "" "$(confined n1)" "a vmm is confined"
moved() { # moved TO OPTION...: and it goes on
	ctl n1 vm migrate a --to "$@" --timeout 900 || fail "vm migrate a --to $*"
	vm_is a "running $1" || fail "it is $(vm_at a)"
	wait_for 300 "the guest goes on at $1" serial_has "$1" '^ack '
	is "" "$(confined "$1")" "it is confined there"
	wait_for 60 "no tunnel is left" sh -c "! '$LAB_DIR/lab' exec n1 pgrep -x vmm-tunnel && ! '$LAB_DIR/lab' exec n2 pgrep -x vmm-tunnel"
}
moved n2 --live
moved n1 --live
moved n2 --quick
is "" "$(on n2 ls /clusterstorage/vol1/.holdfast/save)" "no saved VM is left"
old=$(on n2 pgrep -x csvd)
on n2 kill -9 "$old"
another() { [ -n "$(on n2 pgrep -x csvd)" ] && [ "$(on n2 pgrep -x csvd)" != "$old" ]; }
wait_for 300 "csvd is another" another
moved n1 --live
echo "all of it held"
