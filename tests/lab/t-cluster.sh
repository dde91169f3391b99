#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=3 luns=2 fresh seconds=1800
# clusterd and clusterctl on three nodes: create, token, join, status; a clusterd that is killed or stopped; a lost quorum; and
# a table of bad input, each line of which must give its exit code, one line of text, and change nothing.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
# bad CODE WORD ARGS...: exits with CODE, WORD is in its one line of text
bad() {
	local code=$1 word=$2 text got
	shift 2
	text=$(ctl n1 "$@" --timeout 120 2>&1 > /dev/null)
	got=$?
	is "$code" "$got" "clusterctl $* exits $code ($text)"
	is 1 "$(printf '%s\n' "$text" | wc -l)" "in one line"
	case $text in *"$word"*) ;; *) fail "clusterctl $*: '$word' is not in: $text" ;; esac
}
# What the cluster is made of, without what changes by itself.
picture() { ctl n1 status --json | jq -S '{nodes: [.nodes[] | {name, state}], volumes: [.volumes[] | {name, state}], vms: [.vms[] | {name, state}]}'; }

deploy_build n1 n2 n3
on n1 mkdir -p /var/lib/hftest
say "not in a cluster"
ctl n1 status > /dev/null 2>&1
is 3 $? "status of a node in no cluster"
bad 3 "not in a cluster" vm list
bad 3 "not in a cluster" vm start a
bad 3 "not in a cluster" vm show a
bad 2 "not a name" cluster create 'no name'
bad 1 "not an address of this node" cluster create lab --address 192.0.2.1
bad 1 "allowed 1000 to 30000" cluster create lab --token-ms 5
bad 1 "token is damaged" cluster join 10.77.1.12 --token HF1-AAAA
bad 1 "numeric IP" cluster join nowhere --token HF1-AAAA
on n1 test ! -e /var/lib/holdfast/node.json || fail "a refused create left node.json behind"

say "create and join"
a1=$(cluster_address n1)
ctl n1 cluster create lab --address "$a1" --token-ms 5000 || fail "create"
bad 1 "already node n1" cluster create other
token=$(ctl n1 cluster token --name n2) || fail "token"
a3=$(cluster_address n3)
text=$(ctl n3 cluster join "$a1" --token "$token" --address "$a3" 2>&1)
is 1 $? "a token for n2 does not admit n3 ($text)"
for node in n2 n3; do
	address=$(cluster_address $node)
	if [ $node = n3 ]; then
		token=$(ctl n1 cluster token)
		text=$(ctl n3 cluster join "$a2" --token "$token" --address "$address" 2>&1)
		is 1 $? "a token of n1 is not good at n2 ($text)"
		case $text in *"was given by node n1"*) ;; *) fail "it does not say where: $text" ;; esac
	fi
	a2=$address
	ctl $node cluster join "$a1" --token "$token" --address "$address" || fail "$node joins"
done
bad 1 "already node n1" cluster join "$a1" --token "$token"
for node in n1 n2 n3; do
	for other in n1 n2 n3; do
		wait_for 240 "$node sees $other up" is_state $node $other up
	done
done
is "" "$(on n2 sh -c 'cmp /var/lib/holdfast/tls/ca.pem /var/lib/holdfast/tls/node.pem >/dev/null && echo same')" "n2 has its own certificate"
is "600" "$(on n2 stat -c %a /var/lib/holdfast/tls/node.key)" "its key is its own"

say "bad input changes nothing"
on n1 sh -c 'echo no kernel >/var/lib/hftest/text; : >/var/lib/hftest/empty'
lun=$(ctl n1 lun list --json | jq -r '.luns[0].id')
before=$(picture)
bad 2 "no such command" volume shrink vol1
bad 2 "did you mean start?" vm strat a
bad 2 "did you mean --force?" vm stop a --forse
bad 2 "missing" vm start
bad 2 "does not belong" vm list --drain
bad 2 "not known" vm list --colour
bad 2 "not a name" vm start 'a b'
bad 1 "" vm start nobody
bad 1 "" vm migrate nobody --to n2
bad 1 "" node pause nobody
bad 1 "" volume move nothing n2
bad 1 "there is no VM" vm show nobody
bad 1 "no vm nobody" why vm nobody
bad 1 "is not seen by this node" volume add vol1 --lun naa.6000000000000000
bad 1 "/var/lib/hftest/missing" vm create a --kernel /var/lib/hftest/missing
bad 1 "not a Linux kernel" vm create a --kernel /var/lib/hftest/text
bad 1 "not a file with content" vm create a --kernel /var/lib/hftest/empty
bad 1 "there is no bridge" vm create a --kernel /lab-boot/vmlinuz-guest --net nobridge0
bad 1 "there is no volume" vm create a --kernel /lab-boot/vmlinuz-guest --disk vol9/a.img
bad 2 "whole MiB" vm create a --kernel /lab-boot/vmlinuz-guest --memory lots
bad 2 "allowed 1 to 4" vm create a --kernel /lab-boot/vmlinuz-guest --cpus 64
bad 1 "allowed 64 MiB" vm create a --kernel /lab-boot/vmlinuz-guest --memory 1M
bad 2 "size=" vm create a --kernel /lab-boot/vmlinuz-guest --disk vol1/a.img,size=
bad 2 "mac" vm create a --kernel /lab-boot/vmlinuz-guest --net vmbr0,mac=zz
is "$before" "$(picture)" "nothing changed"

say "LUNs"
path=$(ctl n1 lun list --json | jq -r --arg id "$lun" '.luns[] | select(.id == $id) | .paths[0]')
lun2=$(ctl n1 lun list --json | jq -r '.luns[1].id')
on n1 sh -c "mkfs.xfs -q -f $path && wipefs -n $path" > /dev/null || fail "mkfs"
bad 1 "carries data" volume add vol1 --lun "$lun"
path2=$(ctl n2 lun list --json | jq -r --arg id "$lun2" '.luns[] | select(.id == $id) | .paths[0]')
on n2 sh -c "scsi3pr register $path2 --key bad1 && scsi3pr reserve $path2 --key bad1" > /dev/null || fail "reserve"
bad 1 "is reserved by somebody else" volume add vol1 --lun "$lun2" --force
on n2 scsi3pr clear "$path2" --key bad1 --every-key > /dev/null || fail "clear"
# Two that no lab has: n1 is a SAN for itself, with LUNs that are pieces of LUN 2.
path2=$(ctl n1 lun list --json | jq -r --arg id "$lun2" '.luns[] | select(.id == $id) | .paths[0]')
on n1 sh -s -- "$path2" << 'END' || fail "a small LUN, and one without reservations"
set -e
modprobe -a target_core_mod iscsi_target_mod target_core_iblock
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir -p /var/target/pr
dmsetup create small --noudevsync --table "0 131072 linear $1 0"
dmsetup create nopr --noudevsync --table "0 2097152 linear $1 131072"
dmsetup mknodes small nopr
c=/sys/kernel/config/target t=$c/iscsi/iqn.2026-11.example:odd/tpgt_1
mkdir -p $t/np/127.0.0.1:3262
for name in small nopr; do
	mkdir -p $c/core/iblock_1/$name $t/lun/lun_${#name}
	echo udev_path=/dev/mapper/$name > $c/core/iblock_1/$name/control
	echo odd-$name > $c/core/iblock_1/$name/wwn/vpd_unit_serial
	echo 1 > $c/core/iblock_1/$name/enable
	ln -s $c/core/iblock_1/$name $t/lun/lun_${#name}/
done
echo 0 > $c/core/iblock_1/nopr/attrib/emulate_pr
for a in authentication=0 demo_mode_write_protect=0 generate_node_acls=1 cache_dynamic_acls=1; do
	echo ${a#*=} > $t/attrib/${a%=*}
done
echo 1 > $t/enable
iscsiadm -m discovery -t st -p 127.0.0.1:3262 > /dev/null
iscsiadm -m node -T iqn.2026-11.example:odd -p 127.0.0.1:3262 -l > /dev/null
END
of_size() { ctl n1 lun list --json | jq -er --argjson n "$1" '.luns[] | select(.size == $n) | .id'; }
wait_for 60 "the odd LUNs are there" eval 'of_size 67108864 && of_size 1073741824' > /dev/null
bad 1 "is too small: 64 MiB" volume add vol1 --lun "$(of_size 67108864)"
bad 1 "no SCSI-3 persistent reservations" volume add vol1 --lun "$(of_size 1073741824)" --force
bad 1 "is in use on this node" volume add vol1 --lun "$lun2" --force
on n1 sh -c 'iscsiadm -m node -T iqn.2026-11.example:odd -u >/dev/null
	iscsiadm -m node -T iqn.2026-11.example:odd -o delete
	c=/sys/kernel/config/target t=$c/iscsi/iqn.2026-11.example:odd/tpgt_1
	echo 0 >$t/enable; rm $t/lun/lun_5/small $t/lun/lun_4/nopr; rmdir $t/np/* $t/lun/lun_* $t $c/iscsi/iqn.2026-11.example:odd
	rmdir $c/core/iblock_1/*; dmsetup remove small --noudevsync; dmsetup remove nopr --noudevsync' 2> /dev/null
is "$before" "$(picture)" "nothing changed"
ctl n1 volume add vol1 --lun "$lun" --force || fail "volume add"
bad 1 "exists already" volume add vol1 --lun "$lun"
bad 1 "is volume vol1 already" volume add vol2 --lun "$lun"

say "what is busy"
ctl n1 vm create busy --kernel /lab-boot/vmlinuz-guest --memory 128M --append console=ttyS0 --disk vol1/busy.img,size=1M || fail "vm create"
bad 1 "one of this name already" vm create busy --kernel /lab-boot/vmlinuz-guest
bad 1 "belongs to VM busy" vm create other --kernel /lab-boot/vmlinuz-guest --disk vol1/busy.img
bad 1 "is stopped already" vm stop busy
bad 1 "only a running VM" vm migrate busy
bad 1 "has no console" vm console busy
ctl n1 vm start busy --to n1 --timeout 600 || fail "vm start"
before=$(picture)
bad 1 "runs already" vm start busy
bad 1 "stop it first" vm delete busy
bad 1 "already" vm migrate busy --to n1
bad 1 "owns it already" volume move vol1 "$(owner_of vol1)"
is "$before" "$(picture)" "nothing changed"
# The console begins with what was shown before, and its end of input does not end it.
console_says() { on "$1" timeout 5 clusterctl vm console busy < /dev/null 2> /dev/null | grep -q "Linux version"; }
for node in n1 n2; do
	wait_for 240 "the console of a VM of n1 on $node" console_says $node
done

say "a clusterd that is killed is back, and was only missed"
pid=$(on n2 cat /run/holdfast/clusterd.pid)
csvd=$(on n2 pidof csvd)
on n2 kill -KILL "$pid"
wait_for 120 "clusterd is another" on n2 sh -c "test \"\$(cat /run/holdfast/clusterd.pid)\" != $pid && clusterctl status --json >/dev/null"
wait_for 240 "n2 is up again" is_state n1 n2 up
is "$csvd" "$(on n2 pidof csvd)" "csvd was left alone"

say "a clusterd that is stopped: its VM freezes by itself, is started elsewhere, and the old one is ended"
lab push n2 "$LAB_DIR/vmm/vmmctl" /run/vmmctl && on n2 chmod 755 /run/vmmctl || fail "push"
ctl n1 vm create l --kernel /lab-boot/vmlinuz-guest --memory 128M --disk vol1/l.img,size=16M || fail "vm create"
ctl n1 vm start l || fail "vm start"
vm_is l "running n2" || ctl n1 vm migrate l --to n2 || fail "vm migrate"
wait_for 240 "the VM runs on n2" vm_is l "running n2"
S=/run/holdfast/vm/l/control.sock
frozen() { on n2 /run/vmmctl $S status | jq -e .frozen > /dev/null; }
frozen && fail "it has no lease"
pid=$(on n2 cat /run/holdfast/clusterd.pid)
old=$(on n2 cat /run/holdfast/vm/l/vmm.pid)
on n2 kill -STOP "$pid"
wait_for 240 "the VM has frozen itself" frozen
vm_is l "running n2" || fail "it was started elsewhere before it froze: $(vm_at l)"
moved() { case "$(vm_at l)" in "running n1" | "running n3") ;; *) return 1 ;; esac; }
wait_for 600 "it runs elsewhere" moved
frozen || fail "the old copy is not frozen"
on n2 kill -CONT "$pid"
wait_for 240 "the old copy is ended" on n2 sh -c "! kill -0 $old 2>/dev/null"
ctl n1 vm stop l --force && ctl n1 vm delete l || fail "vm stop and delete l"
wait_for 240 "n2 is up again" is_state n1 n2 up

say "a node without the others"
lab link n3 cluster down || fail "link"
no_quorum() { ctl n3 status > /dev/null 2>&1; [ $? = 5 ]; }
wait_for 240 "n3 has no quorum" no_quorum
text=$(ctl n3 node pause n1 2>&1)
is 5 $? "a command there is refused ($text)"
case $text in *"no quorum"*) ;; *) fail "$text" ;; esac

say "a node that is down"
is_down() { case $(node_state n1 n3) in lost | fencing | fenced | down) ;; *) false ;; esac; }
wait_for 240 "n3 is down for the others" is_down
bad 1 "takes no VMs" vm migrate busy --to n3
bad 1 "cannot own a volume" volume move vol1 n3
freezes() { on n1 grep -c 'thawed -> frozen' /var/log/clusterd.log; }
before=$(freezes)
pid=$(on n2 cat /run/holdfast/clusterd.pid)
on n2 kill -KILL "$pid"
wait_for 120 "clusterd is another" on n2 sh -c "test \"\$(cat /run/holdfast/clusterd.pid)\" != $pid && clusterctl status --json >/dev/null"
wait_for 240 "n2 is up again" is_state n1 n2 up
is "$before" "$(freezes)" "the only other clusterd was killed: n1 froze nothing"

ctl n1 vm stop busy --force || fail "vm stop"
bad 1 "takes no VMs" vm start busy --to n3
ctl n1 vm delete busy || fail "vm delete"
bad 1 "No such file" vm create busy --kernel /lab-boot/vmlinuz-guest --disk vol1/busy.img

say "a damaged state file"
on n3 sh -c 'touch /run/lab/no-clusterd; kill "$(cat /run/holdfast/clusterd.pid)"'
wait_for 60 "clusterd of n3 has ended" on n3 sh -c '! pidof clusterd'
damaged() {  # damaged FILE WORD: clusterd refuses it with one line and leaves it as it is
	local text
	text=$(on n3 sh -c "sha256sum $1 >/run/t-sum; clusterd 2>&1; echo status \$?; sha256sum --quiet -c /run/t-sum")
	is "status 78" "$(tail -n 1 <<< "$text")" "clusterd refuses $1, and leaves it: $text"
	is 1 "$(grep -c " error: " <<< "$text")" "in one line"
	case $text in *"$2"*) ;; *) fail "'$2' is not in: $text" ;; esac
}
db=/var/lib/holdfast/state.db
on n3 sh -c "rm -f $db-wal $db-shm; printf damage | dd of=$db bs=1 conv=notrunc 2>/dev/null"
damaged $db "state.db"
on n3 sh -c "echo '{' >/var/lib/holdfast/node.json"
damaged /var/lib/holdfast/node.json "node.json"
say "ok"
