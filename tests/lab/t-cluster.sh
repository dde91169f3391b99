#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=3 luns=2 fresh seconds=1800
# clusterd and clusterctl on three nodes: create, token, join, status; a clusterd that is killed; a lost quorum; and
# a table of bad input, each line of which must give its exit code, one line of text, and change nothing.
. "$(dirname "$0")/lib.sh"
for program in clusterd/clusterd clusterd/ctl/clusterctl csvd vmm/vmm scsi3pr/scsi3pr; do
	[ -x "$BUILD_DIR/$program" ] || skip "$BUILD_DIR/$program is not built"
done
for node in n1 n2 n3; do
	on $node touch /run/lab/no-clusterd
	on $node mkdir -p /usr/libexec/holdfast /var/lib/hftest
	for program in csvd vmm/vmm clusterd/clusterd clusterd/ctl/clusterctl scsi3pr/scsi3pr; do
		lab push $node "$BUILD_DIR/$program" "/run/t-new" || fail "push"
		case $program in csvd | vmm/vmm) to=/usr/libexec/holdfast ;; *) to=/usr/sbin ;; esac
		on $node sh -c "chmod 755 /run/t-new && mv /run/t-new $to/${program##*/}" || fail "mv"
	done
	on $node rm -f /run/lab/no-clusterd
done
ctl() {  # ctl NODE ARGS...
	local node=$1
	shift
	on "$node" clusterctl "$@"
}
node_state() {  # as seen from $1, of node $2
	ctl "$1" node list --json 2> /dev/null | jq -r --arg n "$2" '.nodes[] | select(.name == $n) | .state'
}
is_state() { [ "$(node_state "$1" "$2")" = "$3" ]; }
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

wait_for 120 "clusterd runs" on n1 sh -c 'clusterctl status | grep -q "not in a cluster"'
say "not in a cluster"
ctl n1 status > /dev/null 2>&1
is 3 $? "status of a node in no cluster"
bad 3 "not in a cluster" vm list
bad 3 "not in a cluster" vm start a
bad 2 "not a name" cluster create 'no name'
bad 1 "not an address of this node" cluster create lab --address 192.0.2.1
bad 1 "allowed 1000 to 30000" cluster create lab --token-ms 5
bad 1 "token is damaged" cluster join 10.77.1.12 --token HF1-AAAA
bad 1 "numeric IP" cluster join nowhere --token HF1-AAAA
on n1 test ! -e /var/lib/holdfast/node.json || fail "a refused create left node.json behind"

say "create and join"
a1=$(on n1 hostname -I | tr ' ' '\n' | grep '^10\.77\.1\.')
ctl n1 cluster create lab --address "$a1" --token-ms 10000 || fail "create"
bad 1 "already node n1" cluster create other
token=$(ctl n1 cluster token --name n2) || fail "token"
a3=$(on n3 hostname -I | tr ' ' '\n' | grep '^10\.77\.1\.')
text=$(ctl n3 cluster join "$a1" --token "$token" --address "$a3" 2>&1)
is 1 $? "a token for n2 does not admit n3 ($text)"
for node in n2 n3; do
	address=$(on $node hostname -I | tr ' ' '\n' | grep '^10\.77\.1\.')
	[ $node = n3 ] && token=$(ctl n1 cluster token)
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
path=$(ctl n1 lun list --json | jq -r '.luns[0].paths[0]')
on n1 sh -c "mkfs.xfs -q -f $path && wipefs -n $path" > /dev/null || fail "mkfs"
bad 1 "carries data" volume add vol1 --lun "$lun"
is "$before" "$(picture)" "nothing changed"
ctl n1 volume add vol1 --lun "$lun" --force || fail "volume add"
bad 1 "exists already" volume add vol1 --lun "$lun"
bad 1 "is volume vol1 already" volume add vol2 --lun "$lun"

say "a clusterd that is killed is back, and was only missed"
pid=$(on n2 cat /run/holdfast/clusterd.pid)
csvd=$(on n2 pidof csvd)
on n2 kill -KILL "$pid"
wait_for 120 "clusterd is another" on n2 sh -c "test \"\$(cat /run/holdfast/clusterd.pid)\" != $pid && clusterctl status --json >/dev/null"
wait_for 240 "n2 is up again" is_state n1 n2 up
is "$csvd" "$(on n2 pidof csvd)" "csvd was left alone"

say "a node without the others"
lab link n3 cluster down || fail "link"
no_quorum() { ctl n3 status > /dev/null 2>&1; [ $? = 5 ]; }
wait_for 240 "n3 has no quorum" no_quorum
text=$(ctl n3 node pause n1 2>&1)
is 5 $? "a command there is refused ($text)"
case $text in *"no quorum"*) ;; *) fail "$text" ;; esac
lab link n3 cluster up
say "ok"
