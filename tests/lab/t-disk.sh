#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=1 luns=1 seconds=900
# lab-long: 4 minutes
# One vmm on one node, no cluster, with disks that are not as usual: a sparse image on a file system without room for it, which stops
# the guest until there is some; an image on a file system over 4096-byte sectors, which the guest is told; a read-only disk.
. "$(dirname "$0")/lib.sh"
D=/root/vmmtest # in the node
VMM=$BUILD_DIR/vmm/vmm
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
STAMPCHECK=$BUILD_DIR/tests/lab/checker/stampcheck
for p in "$VMM" "$STAMPER" "$STAMPCHECK"; do [ -x "$p" ] || skip "$p is not built"; done
W=$(mktemp -d)
GUEST=10.77.3.78
clean_up() {
	on n1 sh -c "kill -9 \$(cat $D/run/vmm.pid)" 2> /dev/null
	rm -rf "$W"
}
trap clean_up EXIT

"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
on n1 sh -c "rm -rf $D; mkdir -p -m 700 $D/run; chmod 711 $D /root
	modprobe kvm_amd 2>/dev/null; modprobe kvm_intel 2>/dev/null; modprobe tun 2>/dev/null; test -c /dev/kvm" ||
	skip "n1 has no /dev/kvm"
for f in "$VMM" "$W/vmlinuz" "$W/initrd"; do lab push n1 "$f" "$D/$(basename "$f")" || fail push; done
on n1 chmod 755 $D/vmm
missing=$(on n1 ldd $D/vmm | grep 'not found')
[ -z "$missing" ] || skip "in the lab's root tree: $missing"
on n1 sh -c "dd if=/dev/zero of=$D/disk.img bs=1M count=16 2>/dev/null; echo 'not a kernel' > $D/text; ip link set vmbr0 up
	ip link add vt0 type veth peer name vt1; ip link set vt1 master vmbr0; ip link set vt1 up; ip addr add 10.77.3.79/24 dev vt0; ip link set vt0 up" 2> /dev/null

config() { # config JSON-MEMBERS: over the usual ones
	on n1 sh -c "cat > $D/config.json" << CONFIG
{"name":"t","uuid":"5a3c2b10-0000-4000-8000-000000000078","generation":5,"uid":64078,
 "append":"console=ttyS0 panic=-1 hf.ip=$GUEST/24 hf.ram_mib=8 hf.tell_every=20 hf.interval_ms=10",
 "nets":[{"tap":"t0","bridge":"vmbr0","mac":"52:54:00:4d:49:78"}],"run_dir":"$D/run",$1}
CONFIG
}
C="\"cpus\":1,\"memory_mib\":128"
K="\"kernel\":\"$D/vmlinuz\",\"initrd\":\"$D/initrd\""

start() { # start DISKS
	config "$C,$K,\"disks\":[$1]"
	on n1 sh -c "rm -f $D/run/*; cd / && setsid $D/vmm --config $D/config.json < /dev/null > $D/start.log 2>&1 &"
	wait_for 60 "the vmm answers" on n1 test -S $D/run/control.sock
}
serial_has() { on n1 grep -aq "$1" $D/run/serial.log; }
ended() { ! on n1 sh -c "kill -0 \$(cat $D/run/vmm.pid) 2>/dev/null"; }
lab push n1 "$LAB_DIR/vmm/vmmctl" $D/vmmctl && on n1 chmod 755 $D/vmmctl || fail push
ctl() { on n1 $D/vmmctl $D/run/control.sock "$@"; }
on n1 sh -c "modprobe loop 2> /dev/null; truncate -s 16M $D/ro && losetup -r -f --show $D/ro > $D/ro.loop &&
	mkdir -p $D/m $D/k && truncate -s 40M $D/lun && truncate -s 32M $D/lun4k &&
	mkfs.ext4 -q -m 0 $D/lun && mount -o loop $D/lun $D/m && truncate -s 16M $D/m/disk.img &&
	loop=\$(losetup -f --show -b 4096 $D/lun4k) && mkfs.ext4 -q -b 4096 \$loop && mount \$loop $D/k && truncate -s 8M $D/k/disk.img &&
	{ dd if=/dev/zero of=$D/m/filler bs=1M 2> /dev/null; truncate -s -1M $D/m/filler && sync; }" ||
	fail "small file systems"
RO=$(on n1 cat $D/ro.loop)
start "{\"file\":\"$D/m/disk.img\"},{\"file\":\"$D/k/disk.img\"},{\"file\":\"$RO\",\"readonly\":true}"
wait_for 300 "the guest sees its disks" serial_has 'vdc. .*logical blocks'
serial_has 'vda. .* 512-byte logical blocks' && serial_has 'vdb. 2048 4096-byte logical blocks' || fail "the guest is not told 4096: $(on n1 grep -a logical $D/run/serial.log)"
say "ok: the guest is told blocks of 4096 bytes"
stalled() { ctl status | grep -q '"stalled": "no space on the file system of disk'; }
wait_for 300 "the full file system stops the guest" stalled || fail "status: $(ctl status)"
status=$(ctl status)
case $status in *'"state": "running"'*) ;; *) fail "status: $status" ;; esac
case $status in *'"state": "no-space"'*) ;; *) fail "status: $status" ;; esac
case $status in *'"errors": '[1-9]*) fail "the guest was given an error: $status" ;; esac
case $status in *'"readonly": true'*) ;; *) fail "status: $status" ;; esac
ctl save path=$D/saved 2> "$W/refused" && fail "a VM whose writes wait was saved"
grep -q 'no space on the file system of disk' "$W/refused" || fail "save: $(cat "$W/refused")"
on n1 sh -c "rm -f $D/m/filler && sync"
ctl resume > /dev/null || fail "resume"
goes_on() { ! stalled; }
wait_for 120 "it goes on when there is room" goes_on
log_has() { on n1 grep -q "$1" $D/run/vmm.log; }
log_has 'no space under it: the guest stands still' && log_has 'everything that waited is written' || fail "vmm.log: $(on n1 cat $D/run/vmm.log)"
wait_for 300 "it writes more" serial_has '^ack [0-9]* 5 '
ctl shutdown || fail "shutdown"
wait_for 240 "it ends" ended
lab pull n1 $D/m/disk.img "$W/disk.img" && "$STAMPCHECK" "$W/disk.img" > "$W/check" || fail "stampcheck: $(cat "$W/check")"
say "ok: nothing was lost of what was acknowledged"
on n1 sh -c "umount $D/m $D/k; losetup -D"
