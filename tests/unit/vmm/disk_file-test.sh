#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# disk_file_test on a file system over 4096-byte sectors, and with a read-only device: a loop device, so root.
# The mount is of a namespace of its own.
here=$PWD
[ -x ./disk_file_test ] || { echo "skipped: disk_file_test is not built"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: not root"; exit 77; }
W=$(mktemp -d "$here/disk_file.XXXXXX")
loop=
clean_up() {
	[ -z "$loop" ] || losetup -d "$loop"
	rm -rf "$W"
}
trap clean_up EXIT
truncate -s 64M "$W/lun"
loop=$(losetup -f --show -b 4096 "$W/lun" 2> "$W/why") || { echo "skipped: no loop device: $(cat "$W/why")"; exit 77; }
mkfs.ext4 -q -b 4096 "$loop" && mkdir "$W/m" || exit 1
unshare -m sh -c "mount '$loop' '$W/m' && cd '$W/m' && DISK_FILE_BLOCK=4096 '$here/disk_file_test'" || exit 1
# A file system with room for some of the writes only, until the filler goes.
unshare -m sh -c "mount '$loop' '$W/m' && cd '$W/m' && dd if=/dev/zero of=filler bs=1M 2> /dev/null
	truncate -s -8M filler && sync && DISK_FILE_FILLER=\$PWD/filler timeout 120 '$here/disk_file_test' || exit 1
	dd if=/dev/zero of=filler bs=1M 2> /dev/null
	truncate -s -8M filler && sync && DISK_FILE_FILLER=\$PWD/filler timeout 120 '$here/faults_test'" || exit 1
losetup -d "$loop" && loop= || exit 1
loop=$(losetup -f --show -r -b 4096 "$W/lun") || exit 1
cd "$W" && DISK_FILE_RO=$loop "$here/disk_file_test"
