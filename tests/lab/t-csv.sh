#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=2 luns=1 fresh seconds=1500
# csvd and libcsv on two nodes, driven by their sockets, no clusterd: one name space, layouts, the
# exclusive opener, planned move, csvd killed, down, and the owner's power cut with a proven takeover.
. "$(dirname "$0")/lib.sh"
# shellcheck source=csv/volume.sh
. "$LAB_DIR/csv/volume.sh"

step "one volume on two nodes"
volume_up
ctl n2 own volume=v1 term=1 members='[1,2]' fresh=true > /dev/null
is 1 $? "a second owner of the same term is refused: $(cat "$tmp/err")"

step "one name space"
on n1 sh -c "cd $MNT && mkdir -p d/e && echo one > d/f && ln d/f d/g && ln -s f d/s" || fail "make on n1"
is "one 2 f" "$(on n2 sh -c "cd $MNT/d && echo \$(cat s) \$(stat -c %h g) \$(readlink s)")" "n2 sees what n1 made"
on n2 sh -c "cd $MNT && mv d/f d/e/h && echo two >> d/e/h && rm d/s && mkdir x && rmdir x && touch y && mv y d/g" || fail "change on n2"
is "one two" "$(on n1 sh -c "cd $MNT && echo \$(cat d/e/h)")" "n1 sees what n2 wrote, moved and appended"
is "0 0" "$(on n1 sh -c "cd $MNT && stat -c %s d/g; ls d | grep -c s" | tr '\n' ' ' | sed 's/ $//')" "rename over an existing file"
on n1 sh -c "cd $MNT && truncate -s 2 d/e/h"
is "on" "$(on n2 cat $MNT/d/e/h)" "truncate is seen"
on n1 sh -c "df $MNT | grep -q holdfast:v1" || fail "df"
is 1 "$(on n2 sh -c "cd $MNT && rmdir d 2> /dev/null; echo \$?")" "a folder that is not empty stays"
is "hello" "$(on n1 sh -c "exec 5<>$MNT/open && echo hello >&5 && rm $MNT/open && cat < /proc/self/fd/5")" "an unlinked open file lives"
is "" "$(on n2 ls $MNT/.holdfast/orphan)" "and is gone after its close"

step "random operations"
on n1 /root/csv/fsx.py /tmp/planted 1 50 65536 49 2> /dev/null
is 1 $? "a planted fault is noticed"
sum=$(on n1 timeout 600 /root/csv/fsx.py $MNT/fsx1 1 100) || fail "fsx on the owner: $sum"
is "$sum" "$(on n2 sh -c "md5sum < $MNT/fsx1 | cut -d' ' -f1")" "n2 reads what n1 wrote at random"
sum=$(on n2 timeout 600 /root/csv/fsx.py $MNT/fsx2 2 100) || fail "fsx on the client: $sum"
is "$sum" "$(on n1 sh -c "md5sum < $MNT/fsx2 | cut -d' ' -f1")" "n1 reads what n2 wrote at random"

step "disks"
ctl n2 file-create volume=v1 path=images/d1.img size=33554432 > /dev/null || fail "file-create: $(cat "$tmp/err")"
ctl n1 file-create volume=v1 path=images/d1.img size=33554432 > /dev/null
is 1 $? "a second image of the same name is refused: $(cat "$tmp/err")"
hold n2 2 100000
is "open: Stale file handle" "$(on n1 timeout 300 /root/csv/csvtool hold v1 images/d1.img vm1 2 1)" "the same generation elsewhere is refused"
is "open: Stale file handle" "$(on n1 timeout 300 /root/csv/csvtool hold v1 images/d1.img vm1 1 1)" "a lower one too"
on n1 sh -c "echo x > $MNT/images/d1.img" 2> /dev/null
is 1 "$(on n1 sh -c "rm $MNT/images/d1.img 2> /dev/null; echo \$?")" "a disk in use is not removed or written by others"
on n1 sh -c "echo plain > $MNT/images/plain; ln $MNT/images/d1.img $MNT/images/l.img; mv $MNT/images/d1.img $MNT/images/d2.img; mv -f $MNT/images/plain $MNT/images/d1.img" 2> "$tmp/busy"
is 3 "$(grep -c 'Text file busy' "$tmp/busy")" "a disk in use is not linked, renamed or replaced: $(cat "$tmp/busy")"
is "open: Text file busy" "$(on n1 timeout 300 /root/csv/csvtool hold v1 images/d1.img vm2 99 1)" "another VM does not get it by a higher number"
files_of() { # files_of NODE SOFT: of its csvd
	on "$1" python3 -c "import resource; resource.prlimit($(on "$1" cat /root/csv/csvd.pid), resource.RLIMIT_NOFILE, ($2, 65536))" || fail prlimit
}
files_of n2 3 # a recall must not need a descriptor: without one the device would stay live, or the recall unanswered
on n1 sh -c "(sleep 2; echo) | /root/csv/csvtool move v1 images/d1.img vm1 3" > "$tmp/move" || fail "move: $(cat "$tmp/move")"
files_of n2 65536
say "$(grep active "$tmp/move")"
wait_for 120 "the lower generation is displaced" on n2 grep -q "event displaced" /root/csv/hold.out
is "open: Stale file handle" "$(on n2 timeout 300 /root/csv/csvtool hold v1 images/d1.img vm1 2 1)" "it cannot come back"

step "planned move with I/O"
hold n2 4 100000
ctl n1 release volume=v1 term=1 > /dev/null || fail "release: $(cat "$tmp/err")"
is "1 1 released 2" "$(on n1 /root/csv/csvtool term $DEV)" "the record says released, n2 has something open"
TERM_NO=2
own n2 '[1,2]' true
tell_owner n1 n2
for n in n1 n2; do wait_for 180 "$n direct" is_state $n direct; done
is "on" "$(on n1 cat $MNT/d/e/h)" "files are there under the new owner"
is 1 "$(held n2 | wc -l)" "the disk felt nothing"

step "csvd killed: client, then owner"
csvd_kill n1
csvd_start n1
attach n1 1
tell_owner n1 n2
wait_for 180 "n1 direct" is_state n1 direct
is "on" "$(on n1 cat $MNT/d/e/h)" "the mount is back on n1"
csvd_kill n2
csvd_start n2
attach n2 1
own n2 '[1,2]' false
for n in n1 n2; do wait_for 180 "$n direct" is_state $n direct; done
is "on" "$(on n2 cat $MNT/d/e/h)" "the mount is back on n2"
is 1 "$(held n2 | wc -l)" "the disk went on without csvd"
wait_for 120 "the disk is taken over" sh -c "$LAB exec n2 -- /root/csv/csvctl status | grep -q '\"generation\": 4'"

step "redirect"
ctl n2 redirect volume=v1 on=true > /dev/null || fail "redirect: $(cat "$tmp/err")"
is fs-redirected "$(state n2)" "n2 says so"
wait_for 120 "the disk is given another way" on n2 grep -q "event changed" /root/csv/hold.out
changes() { [ "$(on n2 grep -c 'event changed' /root/csv/hold.out)" = "$1" ]; }
csvd_kill n2
csvd_start n2
attach n2 1
own n2 '[1,2]' false
for n in n1 n2; do wait_for 180 "$n direct" is_state $n direct; done
wait_for 120 "a csvd that was killed takes the redirected disk over" changes 2
ctl n2 status | grep -q '"mode": "redirected"' || fail "the disk is not redirected"
on n2 pidof csvtool > /dev/null || fail "the disk's user ended: $(held n2)"
ctl n2 redirect volume=v1 on=false > /dev/null
wait_for 120 "and goes back" changes 3

step "down"
ctl n2 down volume=v1 reason="test: key lost" > /dev/null
wait_for 120 "the VM is told" on n2 grep -q "event fenced" /root/csv/hold.out
is down "$(state n2)" "the volume is down"
wait_for 180 "csvd let go of the owner role" sh -c "! $LAB exec n2 -- /root/csv/csvctl status | grep -q serving"
detached() { ctl "$1" detach volume=v1 > /dev/null; }
wait_for 180 "n2 detached" detached n2
attach n2 1
TERM_NO=3
own n2 '[1,2]' false
tell_owner n1 n2
for n in n1 n2; do wait_for 180 "$n direct" is_state $n direct; done

step "the owner loses its power"
hold n1 5 100000
on n1 sh -c "setsid sh -c 'exec 5<>$MNT/kept; echo kept >&5; rm $MNT/kept; touch /root/csv/ready; while ! [ -e /root/csv/go ]; do sleep 0.2; done
	cat /proc/self/fd/5 > /root/csv/kept.out' > /dev/null 2>&1 < /dev/null &"
wait_for 120 "an unlinked file is open" on n1 test -e /root/csv/ready
lab power-off n2
ctl n1 owner volume=v1 term=3 owner=0 > /dev/null
is paused "$(state n1)" "n1 waits for an owner"
pr n1 preempt-abort --key "$(key 1 1)" --victim "$(key 2 1)" > /dev/null || fail "no proof of the fence"
TERM_NO=4
own n1 '[1]' false
wait_for 180 "n1 direct" is_state n1 direct
is "on" "$(on n1 cat $MNT/d/e/h)" "files are there after the takeover"
on n1 touch /root/csv/go
wait_for 120 "the open file is kept" on n1 grep -q kept /root/csv/kept.out
is 1 "$(held n1 | wc -l)" "the disk of the survivor felt nothing"
on n1 sh -c "kill \$(pidof csvtool)"
on n1 /root/csv/csvtool check $MNT/images/d1.img 5 > "$tmp/check" || fail "stamps: $(cat "$tmp/check")"
say "$(cat "$tmp/check")"
is 0 "$(on n1 sh -c "dmesg | grep -ciE 'xfs.*(corrupt|shut)'")" "the kernel has nothing to say about XFS"
no_disks() { ctl n1 status | grep -q '"disks": \[\]'; }
wait_for 120 "csvd closes the disk of a VM that died" no_disks
on n1 sh -c "echo planted | dd of=$MNT/images/d1.img bs=1 seek=2048 conv=notrunc 2> /dev/null" || fail "plant a fault"
on n1 /root/csv/csvtool check $MNT/images/d1.img 5 > "$tmp/check"
is "1 torn stamp: Input/output error" "$? $(cat "$tmp/check")" "a planted fault is noticed"
deleted() { ctl n1 file-delete volume=v1 path=images/d1.img > /dev/null; }
wait_for 60 "the image can be deleted" deleted
ctl n1 release volume=v1 term=4 > /dev/null || fail "release: $(cat "$tmp/err")"
on n1 sh -c 'xfs_repair -n /dev/$(cd /sys/block && grep -lx hf-v1-data dm-*/dm/name | cut -d/ -f1) > /root/csv/repair 2>&1' ||
	fail "xfs_repair: $(on n1 tail -n 3 /root/csv/repair)"
say "ok: xfs_repair finds nothing"
ctl n1 detach volume=v1 > /dev/null || fail "detach: $(cat "$tmp/err")"
echo "PASS"
