#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=1 luns=1 seconds=900
# One vmm on one node, no cluster: what cannot start says why; a stock kernel boots, writes its disk,
# answers over the bridge, talks on serial port and console, obeys the power button; SIGTERM ends it.
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
refused() { # refused WHAT TEXT-IN-THE-ERROR MEMBERS
	local out
	config "$3"
	out=$(on n1 timeout 60 $D/vmm --foreground --config $D/config.json 2>&1)
	[ $? = 1 ] || fail "$1: exit status is not 1: $out"
	case $out in *"$2"*) say "ok: refused: $1" ;; *) fail "$1: the error does not say '$2': $out" ;; esac
}
refused "a kernel that is not a kernel" "allowed: a 64-bit Linux bzImage" "$C,\"kernel\":\"$D/text\""
refused "no kernel" "$D/none: No such file" "$C,\"kernel\":\"$D/none\""
refused "a disk that is not there" "disk $D/none" "$C,$K,\"disks\":[{\"file\":\"$D/none\"}]"
refused "a disk of odd size" "multiple of 512" "$C,$K,\"disks\":[{\"file\":\"$D/text\"}]"
refused "too little memory" "need at least" "\"cpus\":1,$K,\"memory_mib\":32"
on n1 sh -c ": > $D/empty; ln -f $D/disk.img $D/other.img; truncate -s 16M $D/ro; modprobe loop 2>/dev/null
	losetup -r -f --show $D/ro > $D/ro.loop" || fail "no loop device"
RO=$(on n1 cat $D/ro.loop)
refused "an empty initrd" "initrd $D/empty: 0 bytes; allowed" "$C,\"kernel\":\"$D/vmlinuz\",\"initrd\":\"$D/empty\""
refused "more memory than the host has" "memory_mib: 1048576; allowed on this host" "\"cpus\":1,$K,\"memory_mib\":1048576"
refused "two names of one file" "the same file as disk" "$C,$K,\"disks\":[{\"file\":\"$D/disk.img\"},{\"file\":\"$D/other.img\"}]"
refused "a read-only device" "$RO: the device is read-only; allowed" "$C,$K,\"disks\":[{\"file\":\"$RO\"}]"
refused "too many processors" "cpus: 9; allowed: an integer from 1 to 4" "\"cpus\":9,\"memory_mib\":128,$K"

start() { # start CPUS
	config "\"cpus\":$1,$K,\"memory_mib\":128,\"disks\":[{\"file\":\"$D/disk.img\"}]"
	on n1 sh -c "rm -f $D/run/*; cd / && setsid $D/vmm --config $D/config.json < /dev/null > $D/start.log 2>&1 &"
	wait_for 60 "the vmm answers ($1 vCPUs)" on n1 test -S $D/run/control.sock
}
serial_has() { on n1 grep -aq "$1" $D/run/serial.log; }
ended() { ! on n1 sh -c "kill -0 \$(cat $D/run/vmm.pid) 2>/dev/null"; }

start 2
wait_for 300 "a stamp of generation 5 is on the disk" serial_has '^ack [0-9]* 5 '
serial_has 'Brought up 1 node, 2 CPUs' || fail "the guest has not two processors"
wait_for 120 "the guest answers over the bridge" on n1 ping -q -c 1 -W 5 $GUEST
is 64078 "$(on n1 sh -c "stat -c %u /proc/\$(cat $D/run/vmm.pid)")" "the vmm is a user of its own"
is 0000000000000000 "$(on n1 sh -c "sed -n 's/^CapPrm:[[:space:]]*//p' /proc/\$(cat $D/run/vmm.pid)/status")" "without capabilities"
is 2 "$(on n1 sh -c "sed -n 's/^Seccomp:[[:space:]]*//p' /proc/\$(cat $D/run/vmm.pid)/status")" "with a system call filter"
is 0:700 "$(on n1 stat -c %u:%a $D/run)" "the run folder is root's"
second=$(on n1 timeout 60 $D/vmm --foreground --config $D/config.json 2>&1) && fail "a second vmm runs on the folder"
case $second in *"another vmm runs there"*) say "ok: a second vmm on the folder is refused" ;; *) fail "a second vmm: $second" ;; esac
serial_has 'Linux version' && on n1 test -S $D/run/serial.sock -a -S $D/run/console.sock || fail "the second one took something of the first"
late=$(on n1 sh -c "timeout 20 socat -u -T 5 UNIX-CONNECT:$D/run/serial.sock - | grep -ac 'Linux version'")
[ "$late" -ge 1 ] || fail "a late reader of serial.sock does not see the boot"
say "ok: a late reader of the serial port sees the boot"
lab push n1 "$LAB_DIR/vmm/vmmctl" $D/vmmctl && on n1 chmod 755 $D/vmmctl
on n1 $D/vmmctl $D/run/control.sock shutdown || fail "shutdown"
wait_for 240 "the power button ends the VM" ended
on n1 grep -q 'guest-shutdown' $D/run/vmm.log || fail "vmm.log does not say guest-shutdown"
lab pull n1 $D/disk.img "$W/disk.img" && "$STAMPCHECK" "$W/disk.img" > "$W/check" || fail "stampcheck: $(cat "$W/check")"
say "ok: the chain of stamps on the disk is whole"

start 4
wait_for 400 "four vCPUs boot" serial_has 'guest: ready'
serial_has 'Brought up 1 node, 4 CPUs' || fail "the guest has not four processors"
on n1 sh -c "kill -TERM \$(cat $D/run/vmm.pid)"
wait_for 60 "SIGTERM ends the VM" ended
on n1 test -e /sys/class/net/t0 && fail "the tap is left behind"
say "ok: the tap is gone"
on n1 losetup -d "$RO"
