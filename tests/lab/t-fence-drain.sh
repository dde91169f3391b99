#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=1 luns=1 seconds=900
# A write under way when its host is fenced never lands after the proof (docs/decisions/fence-drain.md). The
# node is its own SAN: LIO over a dm-delay of 4 s for writes over LUN 1, which is destroyed.
. "$(dirname "$0")/lib.sh"
[ -x "$BUILD_DIR/pr_held" ] || skip "$BUILD_DIR/pr_held is not built (make check builds it)"
lab push n1 "$BUILD_DIR/pr_held" /run/t-pr_held || fail "push"
on n1 sh -s << 'END' || fail "a slow target on n1"
set -e
modprobe -a dm_delay target_core_mod iscsi_target_mod target_core_iblock
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir -p /var/target/pr
n=$(blockdev --getsz /dev/sda)
dmsetup create held --noudevsync --table "0 $n delay /dev/sda 0 0 /dev/sda 0 4000"
dmsetup mknodes held
c=/sys/kernel/config/target
mkdir -p $c/core/iblock_0/held
echo udev_path=/dev/mapper/held > $c/core/iblock_0/held/control
echo 1 > $c/core/iblock_0/held/enable
t=$c/iscsi/iqn.2026-11.example:held/tpgt_1
mkdir -p $t/lun/lun_1 $t/np/127.0.0.1:3261
ln -s $c/core/iblock_0/held $t/lun/lun_1/
echo 0 > $t/attrib/authentication
echo 0 > $t/attrib/demo_mode_write_protect
echo 1 > $t/attrib/generate_node_acls
echo 1 > $t/attrib/cache_dynamic_acls
echo 1 > $t/enable
iscsiadm -m discovery -t st -p 127.0.0.1:3261 > /dev/null
iscsiadm -m node -T iqn.2026-11.example:held -p 127.0.0.1:3261 -l > /dev/null
END
slow() {
	on n1 sh -c 'for d in /sys/block/sd*; do
		case $(cat /sys/class/iscsi_session/session2/targetname 2>/dev/null) in *:held) ;; *) exit 0 ;; esac
		case $(readlink -f $d) in */session2/*) echo /dev/${d##*/} ;; esac; done'
}
disk=
for _ in $(seq 120); do
	disk=$(slow | head -n 1)
	[ -n "$disk" ] && break
	sleep 0.5
done
[ -n "$disk" ] || fail "the slow disk does not appear"
on n1 /run/t-pr_held "$disk" \
	"iscsi://127.0.0.1:3261/iqn.2026-11.example:held/1?initiator=iqn.2026-11.test:b&isid=800000000b00"
status=$?
on n1 sh -c 'iscsiadm -m node -T iqn.2026-11.example:held -u >/dev/null
	iscsiadm -m node -T iqn.2026-11.example:held -o delete
	c=/sys/kernel/config/target t=$c/iscsi/iqn.2026-11.example:held/tpgt_1
	echo 0 >$t/enable; rm $t/lun/lun_1/held; rmdir $t/np/* $t/lun/lun_1 $t $c/iscsi/iqn.2026-11.example:held
	rmdir $c/core/iblock_0/held; dmsetup remove held --noudevsync' 2> /dev/null
is 0 $status "nothing lands after the proof, and the test can fail"
