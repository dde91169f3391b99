#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=3 luns=1 fresh seconds=1800
# lab-long: 5 minutes
# What an administrator is told, on three nodes: why a VM does not start, why a migration did not move it, what is free on a
# volume, that a VM stands still for want of space; each on a node that had no part in it.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
H=/var/lib/hftest V=/clusterstorage/vol1

deploy_build n1 n2 n3
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
for node in n1 n2 n3; do
	on $node mkdir -p $H
	for file in vmlinuz initrd; do lab push $node "$W/$file" $H/$file || fail push; done
done
cluster_make n1 n2 n3
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"

says() { # says NODE WHAT TEXT: `why vm WHAT` there has it, and no number in place of words
	local text
	text=$(ctl "$1" why vm "$2") || fail "why"
	case $text in *"$3"*) say "ok: $1 says: $3" ;; *) fail "'$3' is not in: $text" ;; esac
	case $text in *"error "[0-9]* | *"reason "[0-9]*) fail "a number for a cause: $text" ;; esac
}
fails() { # fails WORD ARGS...: exit 1, WORD is in its line
	local word=$1 text
	shift
	text=$(ctl n1 "$@" --timeout 600 2>&1 > /dev/null)
	is 1 $? "clusterctl $* fails ($text)"
	case $text in *"$word"*) ;; *) fail "'$word' is not in: $text" ;; esac
	printf '%s\n' "$text" > "$W/text"
}
vm() { ctl n1 vm create "$@" --kernel $H/vmlinuz --initrd $H/initrd --memory 128M --append "console=ttyS0 hf.ram_mib=24 hf.interval_ms=20"; }
free_mib() { on n1 sh -c "df --output=avail -BM $V | tail -1 | tr -dc 0-9"; }
fill() { # fill MIB: so much is left on vol1
	on n1 sh -c "fallocate -l $(($(free_mib) - $1))M $V/fill$1" || fail "fallocate"
}
column() { ctl "$1" volume list --json | jq -r ".volumes[0].$2"; }

say "why a VM does not start"
on n1 sh -c "head -c 1000 /dev/zero > $V/odd.img"
vm odd --disk vol1/odd.img || fail "vm create"
fails "disk odd.img of volume vol1" vm start odd
case $(cat "$W/text") in *"ends (error)"*) fail "the farewell for a cause: $(cat "$W/text")" ;; esac
says n3 odd "disk odd.img of volume vol1"
ctl n2 events | grep -q 'vm odd: .*starting on node .* failed: .*odd.img' || fail "events: $(ctl n2 events | grep odd)"
ctl n1 vm stop odd --force > /dev/null 2>&1
ctl n1 vm delete odd || fail "vm delete"

say "what is free"
known() { [ "$(column n3 free)" != null ]; }
wait_for 60 "n3 knows what is free on vol1" known
ctl n3 volume list | grep -q 'USED.*FREE' || fail "volume list: $(ctl n3 volume list)"
fails "MiB free" vm create big --kernel $H/vmlinuz --disk vol1/big.img,size=100G
vm a --disk vol1/a.img,size=16M || fail "vm create"
ctl n1 vm start a --to n1 --timeout 600 || fail "vm start"
fill 12
filling() { ctl n3 events | grep -q 'vol1.*% full'; }
wait_for 60 "n3 tells that vol1 fills up" filling

say "a quick migration that finds no room"
settled() { on n1 sh -c "grep -aq '^ack ' /run/holdfast/vm/a/serial.log"; }
wait_for 300 "its guest runs" settled
fails "No space left on device" vm migrate a --quick --to n2
case $(cat "$W/text") in *"saving on node n1 failed: vol1: No space left on device ("*"needed"*"free)"*"it runs on node n1 again"*) ;; *) fail "$(cat "$W/text")" ;; esac
vm_is a "running n1" || fail "a is $(vm_at a)"
says n3 a "saving on node n1 failed: vol1: No space left on device"

say "a sparse image on a full volume: the VM stands still, and goes on"
on n1 sh -c "truncate -s 16M $V/sparse.img"
vm s --disk vol1/sparse.img || fail "vm create"
fill 2
ctl n1 vm start s --to n2 --timeout 600 || fail "vm start"
paused() { [ "$(ctl n3 vm list --json | jq -r '.vms[] | select(.name == "s") | .paused')" = "$1" ]; }
wait_for 400 "s stands still" paused true
says n3 s "paused on node n2: no space on the file system of disk vol1/sparse.img"
ctl n3 vm list | grep -q '^s .*running, paused' || fail "vm list: $(ctl n3 vm list)"
vm_is s "running n2" || fail "s is $(vm_at s)"
[ "$(ctl n1 events | grep -c 'vm s: .*no space on')" = 1 ] || fail "events: $(ctl n1 events | grep 'vm s')"
on n1 sh -c "rm -f $V/fill*"
wait_for 240 "s goes on" paused false
vm_is s "running n2" || fail "s is $(vm_at s)"
roomy() { ctl n3 events | grep -q 'vol1.*there is room again'; }
wait_for 60 "n3 tells that there is room again" roomy

say "a VM goes, its disks stay"
ctl n1 vm stop a --force && ctl n1 vm stop s --force || fail "vm stop"
is 0 "$(ctl n1 vm delete a --keep-disks --plan --json | jq '[.items[].disks[]?] | length')" "the plan deletes no disk"
ctl n1 vm delete a --keep-disks && ctl n1 vm delete s || fail "vm delete"
on n1 test -s $V/a.img || fail "a.img is gone"
vm again --disk vol1/a.img && ctl n1 vm start again --timeout 600 && ctl n1 vm stop again --force || fail "its disk in another VM"
