#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab-long: 3 minutes
# lab: nodes=2 luns=1 fresh seconds=1500
# csvd when things go wrong under load: readers that never pause while another node changes the file, the
# storage network of a node that does not own the volume cut for a while and for long, and an owner that is let in no more.
. "$(dirname "$0")/lib.sh"
# shellcheck source=csv/volume.sh
. "$LAB_DIR/csv/volume.sh"

# The initiator notices after 10 s at the earliest and keeps I/O for 10 s more (README.md): this is felt as a pause.
CUT_S=8

step "one volume on two nodes"
volume_up
background() { # background NODE NAME COMMAND: its status ends in /root/csv/NAME.rc
	on "$1" sh -c "rm -f /root/csv/$2.rc; setsid sh -c '$3; echo \$? > /root/csv/$2.rc' > /root/csv/$2.out 2>&1 < /dev/null &"
}
ended() { on "$1" test -e "/root/csv/$2.rc"; }
result() { on "$1" sh -c "cat /root/csv/$2.rc; tail -n 1 /root/csv/$2.out" | tr '\n' ' '; }

step "a recall meets readers that never pause"
on n2 sh -c "dd if=/dev/urandom of=$MNT/busy bs=1M count=2 conv=fsync 2> /dev/null" || fail "make a file"
background n2 readers "for i in 1 2 3 4; do while ! [ -e /root/csv/stop ]; do dd if=$MNT/busy of=/dev/null bs=64k iflag=direct 2> /dev/null || exit 1; done & done; wait"
wait_for 60 "n2 reads by a layout" sh -c "$LAB exec n2 -- /root/csv/csvctl status | grep -q '\"layouts\": [1-9]'"
for size in 1500000 1000000 500000; do
	on n1 truncate -s $size $MNT/busy || fail "truncate to $size"
done
say "ok: the file is changed three times all the same"
on n2 touch /root/csv/stop
wait_for 60 "the readers end" ended n2 readers
is "0" "$(on n2 sh -c "cat /root/csv/readers.rc")" "and met no error"

step "the storage network of n2 is away for $CUT_S s, in the middle of writes"
ctl n1 file-create volume=v1 path=images/d1.img size=33554432 > /dev/null || fail "file-create: $(cat "$tmp/err")"
hold n2 1 100000
background n2 fsx "/root/csv/fsx.py $MNT/fsx 7 150"
wait_for 60 "random operations are under way" on n2 sh -c "[ \$(stat -c %s $MNT/fsx) -gt 65536 ]"
lab link n2 storage down
sleep $CUT_S
lab link n2 storage up
wait_for 300 "they end" ended n2 fsx
sum=$(on n2 sh -c "md5sum < $MNT/fsx | cut -d' ' -f1")
is "0 $sum " "$(result n2 fsx)" "without an error, and the file is what was written"
is "$sum" "$(on n1 sh -c "md5sum < $MNT/fsx | cut -d' ' -f1")" "n1 reads the same"
is 1 "$(held n2 | wc -l)" "the disk felt only the pause"
is direct "$(state n2)" "n2 is direct"

step "away for long"
on n2 sh -c "dd if=/dev/urandom of=$MNT/long bs=1M count=2 conv=fsync 2> /dev/null" || fail "make a file"
background n2 probe "while dd if=/dev/zero of=$MNT/long bs=64k count=32 oflag=direct conv=notrunc 2> /dev/null; do :; done"
wait_for 60 "n2 writes by a layout" sh -c "$LAB exec n2 -- /root/csv/csvctl status | grep -q '\"layouts\": [1-9]'"
lab link n2 storage down
wait_for 180 "n2 is block-redirected" is_state n2 block-redirected
wait_for 60 "the write under way failed: it may still happen" ended n2 probe
on n2 sh -c "timeout 120 dd if=/dev/urandom of=$MNT/long bs=64k count=4 oflag=direct conv=notrunc 2> /dev/null" || fail "a write through the owner"
sum=$(on n2 sh -c "md5sum < $MNT/long | cut -d' ' -f1")
is "$sum" "$(on n1 sh -c "md5sum < $MNT/long | cut -d' ' -f1")" "writes and reads go through the owner"
lab link n2 storage up
wait_for 300 "n2 is direct again" is_state n2 direct
out=$(on n2 timeout 600 /root/csv/fsx.py "$MNT/fsx2" 9 40) || fail "fsx afterwards: $out"
is "$out" "$(on n1 sh -c "md5sum < $MNT/fsx2 | cut -d' ' -f1")" "n1 reads what n2 writes then"

step "n2 is fenced, but its csvd lives on"
pr n1 preempt-abort --key "$(key 1 1)" --victim "$(key 2 1)" > /dev/null || fail "no proof of the fence"
ctl n1 member-gone node=2 > /dev/null || fail "member-gone: $(cat "$tmp/err")"
csvd_kill n2
csvd_start n2
refused=$(ctl n2 attach volume=v1 uuid=$VOLUME lun=$LUN device=$DEV prkey="$(key 2 1)"; echo $?)
is 1 "$refused" "it cannot even read the LUN: $(cat "$tmp/err")"
pr n2 register --key "$(key 2 2)" > /dev/null || fail "register the next incarnation"
attach n2 1
tell_owner n2 n1
wait_for 60 "with the old key it is refused" sh -c "$LAB exec n2 -- /root/csv/csvctl status | grep -q 'the owner refuses this node'"
ctl n2 detach volume=v1 > /dev/null || fail "detach: $(cat "$tmp/err")"
attach n2 2
tell_owner n2 n1
wait_for 180 "the next incarnation is let in" is_state n2 direct
is "$sum" "$(on n2 sh -c "md5sum < $MNT/long | cut -d' ' -f1")" "and sees the files"
echo "PASS"
