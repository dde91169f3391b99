#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab-long: 5 minutes; its last two parts (no descriptor left, csvd killed under a redirected disk) have not passed yet
# lab: nodes=1 luns=1 fresh seconds=1500
# What runs is never overlooked: the vmm's program is renamed, clusterd is killed and starts without descriptors to spare, and
# the VM is found again as the one that runs; a redirected VM goes on when csvd is killed.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
H=/var/lib/hftest

deploy_build n1
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
on n1 mkdir -p $H
for file in vmlinuz initrd; do lab push n1 "$W/$file" $H/$file || fail push; done
lab push n1 "$LAB_DIR/csv/csvctl" /root/csvctl && on n1 chmod 755 /root/csvctl || fail push
cluster_make n1
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"
ctl n1 vm create a --kernel $H/vmlinuz --initrd $H/initrd --append "console=ttyS0 quiet hf.tell_every=20 hf.interval_ms=20" --memory 128M \
	--disk vol1/a.img,size=32M || fail "vm create"
ctl n1 vm start a || fail "vm start"
wait_for 300 "a runs" vm_is a "running n1"
D=/run/holdfast/vm/a
stamps() { on n1 sh -c "grep -ac '^ack ' $D/serial.log"; }
more_than() { [ "$(stamps)" -gt "$1" ]; }
wait_for 300 "it writes to its disk" more_than 0
pid=$(on n1 cat $D/vmm.pid)
generation=$(ctl n1 vm list --json | jq -r '.vms[0].generation')
held() { on n1 sh -c "ls -l /proc/$pid/fd | grep -c '/run/holdfast/lock/vm-a'"; }
is 1 "$(held)" "the vmm has its lock"
alone() { is 1 "$(on n1 sh -c "cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' ' | grep -ao -- '[-]-config $D/config.json' | wc -l")" "one vmm of a"; }

say "another build is installed, and clusterd starts anew"
daemon=$(on n1 cat /run/holdfast/clusterd.pid)
on n1 sh -c 'vmm=$(find /usr -name vmm -path "*libexec*" -type f | head -n 1); mv "$vmm" "$vmm.before" && cp "$vmm.before" "$vmm"' || fail "rename"
on n1 kill -KILL "$daemon"
restarted() { [ "$(on n1 cat /run/holdfast/clusterd.pid)" != "$1" ] && is_state n1 n1 up; }
wait_for 240 "clusterd is back" restarted "$daemon"
wait_for 120 "a runs here" vm_is a "running n1"
is "$pid $generation" "$(on n1 cat $D/vmm.pid) $(ctl n1 vm list --json | jq -r '.vms[0].generation')" "it is the same process and generation"
on n1 kill -0 "$pid" || fail "the vmm was killed"
alone
seen=$(stamps)
wait_for 120 "it goes on" more_than "$seen"

say "clusterd without a descriptor to spare does not take that for an empty node"
daemon=$(on n1 cat /run/holdfast/clusterd.pid)
limit() { on n1 python3 -c "import resource; resource.prlimit($daemon, resource.RLIMIT_NOFILE, ($1, 65536))" || fail prlimit; }
limit 3
ctl n1 vm stop a --force > /dev/null 2>&1 &
sleep 5
on n1 kill -0 "$pid" || fail "the vmm ended"
case $(vm_at a) in *" n1" | "") say "ok: nothing is claimed that is not so" ;; *) fail "a is: $(vm_at a)" ;; esac
limit 65536
wait
wait_for 240 "then a has ended" eval '! on n1 kill -0 "$pid" 2> /dev/null'
not_here() { case $(vm_at a) in *" null") ;; *) return 1 ;; esac; }
wait_for 240 "and is known to" not_here
ctl n1 vm start a || fail "vm start"
wait_for 300 "a runs again" vm_is a "running n1"
wait_for 300 "it writes to its disk" more_than 0
pid=$(on n1 cat $D/vmm.pid)

say "a redirected VM goes on without csvd"
on n1 /root/csvctl redirect volume=vol1 on=true > /dev/null || fail redirect
mode() { on n1 /root/csvctl status | grep -q "\"mode\": \"$1\""; }
wait_for 60 "its disk is redirected" mode redirected
seen=$(stamps)
wait_for 120 "it writes through the owner" more_than "$((seen + 3))"
on n1 sh -c 'kill -KILL $(cat /run/holdfast/csvd.lock)' || fail "csvd's pid"
wait_for 240 "the next csvd takes it over" mode redirected
seen=$(stamps)
wait_for 240 "the VM writes on" more_than "$((seen + 3))"
is "running n1 $pid" "$(vm_at a) $(on n1 cat $D/vmm.pid)" "and is the same process"
alone
is 0 "$(on n1 sh -c "grep -aci 'I/O error' $D/serial.log")" "its guest met no error"
echo "PASS"
