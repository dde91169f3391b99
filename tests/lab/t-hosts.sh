#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: own seconds=1800
# A host like anybody's: udevd, LVM and mdadm run on it. A guest keeps a volume group on its whole first disk and a
# RAID member on its second. Without our rules the host takes both for its own; with them it sees neither.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
W=$(mktemp -d)
trap '"$LAB" down; rm -rf "$W"' EXIT
H=/var/lib/hftest
RULES="11-holdfast.rules 61-holdfast.rules"

"$LAB" down
lab up --nodes 1 --luns 1 || fail "up"
on n1 sh -c 'command -v pvs mdadm udevadm blkid > /dev/null' || skip "the root tree has no lvm2, mdadm or udev"
deploy_build n1
on n1 grep -q HOLDFAST_DEVICE /usr/lib/udev/rules.d/11-holdfast.rules || fail "make install left no udev rules"
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
on n1 mkdir -p $H
for file in vmlinuz initrd; do lab push n1 "$W/$file" $H/$file || fail push; done

say "udevd, first without our rules"
on n1 sh -c "modprobe -a loop raid1; mkdir -p /run/t-rules; cd /usr/lib/udev/rules.d && mv $RULES /run/t-rules/"
on n1 sh -c '/lib/systemd/systemd-udevd --daemon > /run/udevd.log 2>&1 < /dev/null && udevadm trigger --action=add --subsystem-match=block && udevadm settle --timeout=300' || fail udevd

say "what a guest would have on its disks"
on n1 sh -ce "cd $H
truncate -s 64M pv.img md.img
p=\$(losetup -f --show pv.img); m=\$(losetup -f --show md.img)
pvcreate -q -ff -y \$p && vgcreate -q guestvg \$p && lvcreate -q -y -an -Zn -Wn -l 100%FREE -n root guestvg
mdadm --create /dev/md/guest --run --level=1 --raid-devices=1 --force --metadata=1.2 --homehost=any \$m
mdadm --stop /dev/md/guest; vgchange -q -an guestvg; udevadm settle; losetup -d \$p \$m" > "$W/made" 2>&1 ||
	fail "the guest's disks: $(tail -n 3 "$W/made")"

cluster_make n1
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"
ctl n1 vm create g --memory 128M --kernel $H/vmlinuz --initrd $H/initrd --append "console=ttyS0 quiet hf.idle=1" \
	--disk vol1/pv.img,size=64M --disk vol1/md.img,size=64M || fail "vm create"
for image in pv md; do
	on n1 dd if=$H/$image.img of=/clusterstorage/vol1/$image.img bs=1M conv=notrunc,fsync 2> "$W/dd" || fail "dd: $(cat "$W/dd")"
done
on n1 rm $H/pv.img $H/md.img

guests() {  # the devices of the VM's disks: "dm-2 dm-3"
	on n1 sh -c 'for d in /sys/block/dm-*; do read -r n < $d/dm/name; case $n in *-data) ;; hf-vol1-*) echo ${d##*/};; esac; done'
}
start() {
	ctl n1 vm start g || fail "vm start"
	wait_for 300 "VM g runs" vm_is g "running n1"
	mapfile -t devices < <(guests)
	is 2 ${#devices[@]} "its disks are two devices (${devices[*]})"
	on n1 udevadm settle
}
stop() {
	ctl n1 vm stop g --force || fail "vm stop"
	wait_for 120 "VM g is stopped" vm_is g "stopped n1"
}
sees_vg() { on n1 pvs --noheadings -o pv_name,vg_name 2> /dev/null | grep -q guestvg; }
md_on_guest() { on n1 sh -c 'cat /proc/mdstat' | grep -q 'dm-[0-9]'; }
writers() { on n1 sh -c "ls /sys/block/${devices[0]}/holders /sys/block/${devices[1]}/holders" | grep -c '^\(dm-\|md\)'; }
known() { on n1 udevadm info --query=property --name="/dev/$1"; }

say "it can fail: a host without the rules takes the guest's disks"
start
on n1 sh -c 'for d in /sys/block/dm-*; do echo change > $d/uevent; done; udevadm settle; udevadm info --export-db' > "$W/db-without"
on n1 sh -c '! holdfast-host check' > "$W/check" || fail "holdfast-host finds nothing wrong"
for word in udev LVM md; do grep -q "^holdfast-host: $word:" "$W/check" || fail "holdfast-host does not tell of $word: $(cat "$W/check")"; done
sees_vg || fail "pvs does not see the guest's volume group even without the rules: this test proves nothing"
say "ok: pvs sees the guest's volume group"
on n1 vgchange -q -ay guestvg > "$W/vg" 2>&1 || fail "vgchange: $(cat "$W/vg")"
is 1 "$(writers)" "vgchange -ay laid a device on the guest's disk"
on n1 vgchange -q -an guestvg > /dev/null 2>&1
on n1 mdadm --assemble --scan > "$W/md" 2>&1
md_on_guest || fail "mdadm did not assemble the guest's RAID without the rules: $(cat "$W/md"): this test proves nothing"
say "ok: mdadm --assemble --scan took the guest's RAID"
on n1 sh -c 'mdadm --stop --scan; udevadm settle' > /dev/null 2>&1
stop

say "with the rules, and holdfast-host apply"
on n1 sh -c "mv /run/t-rules/* /usr/lib/udev/rules.d/ && udevadm control --reload && holdfast-host apply" > "$W/apply" 2>&1 ||
	fail "holdfast-host apply: $(cat "$W/apply")"
on n1 holdfast-host check || fail "then still something is wrong"
start
before=$(on n1 sh -c "for d in ${devices[*]}; do dd if=/dev/\$d bs=1M iflag=direct 2>/dev/null | sha256sum; done")
on n1 sh -c 'for d in /sys/block/dm-*; do echo add > $d/uevent; echo change > $d/uevent; done; udevadm settle'
for d in "${devices[@]}"; do
	known "$d" > "$W/known"
	grep -q '^HOLDFAST_DEVICE=1' "$W/known" || fail "udev does not know $d as ours: $(cat "$W/known")"
	grep -q '^ID_FS_' "$W/known" && fail "udev looked into $d: $(grep '^ID_FS_' "$W/known")"
	for flag in DISK OTHER SUBSYSTEM; do
		grep -q "^DM_UDEV_DISABLE_${flag}_RULES_FLAG=1" "$W/known" || fail "$d: $flag rules are on"
	done
	grep -q '^SYSTEMD_READY=0' "$W/known" || fail "$d: systemd takes it as ready"
	grep -q '^DEVLINKS=.*/dev/mapper/hf-vol1-' "$W/known" || fail "$d has not the name that filters go by: $(grep DEVLINKS "$W/known")"
	say "ok: udev leaves $d alone"
done
sees_vg && fail "pvs sees the guest's volume group: $(on n1 pvs 2>&1)"
on n1 vgscan > "$W/scan" 2>&1
grep -q guestvg "$W/scan" && fail "vgscan: $(cat "$W/scan")"
on n1 vgchange -q -ay > "$W/vg" 2>&1
on n1 pvscan --cache > "$W/pvscan" 2>&1
say "ok: pvs, vgscan, pvscan see nothing"
on n1 mdadm --assemble --scan > "$W/md" 2>&1
md_on_guest && fail "mdadm assembled the guest's RAID: $(on n1 cat /proc/mdstat)"
say "ok: mdadm --assemble --scan finds nothing"
is 0 "$(writers)" "nothing lies on the guest's disks"
on n1 sh -c "ls -l /dev/disk/by-uuid /dev/disk/by-id 2>/dev/null" | grep -E "$(IFS='|'; echo "${devices[*]}")\$" &&
	fail "a link leads to a guest's disk"
after=$(on n1 sh -c "for d in ${devices[*]}; do dd if=/dev/\$d bs=1M iflag=direct 2>/dev/null | sha256sum; done")
is "$before" "$after" "not a byte of them changed"
# what was there before the rules is told of anew, as at the next boot
on n1 sh -c 'udevadm trigger --subsystem-match=block --action=change && udevadm settle --timeout=300' || fail "settle"
for name in meta data; do
	part=$(on n1 sh -c 'for p in /sys/block/sd*/sd*; do grep -q "PARTNAME=holdfast-'$name'" $p/uevent && echo ${p##*/}; done')
	known "$part" > "$W/known"
	for word in SYSTEMD_READY=0 UDISKS_IGNORE=1; do
		grep -q "^$word" "$W/known" || fail "$part, holdfast-$name: no $word: $(cat "$W/known")"
	done
	say "ok: nothing mounts the volume's partition $part (holdfast-$name)"
done
on n1 sh -c 'multipath -v2; multipath -ll' > "$W/multipath" 2>&1
on n1 sh -c 'cat /sys/block/dm-*/dm/uuid' | grep -q '^mpath-' && fail "multipath made a map: $(cat "$W/multipath")"
say "ok: multipath makes no map"
stop
