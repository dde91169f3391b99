#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=2 luns=2 seconds=900
# Real parts under the storage code, on the last LUN (destroyed): the PR contract on LIO with the kernel's
# initiator and two libiscsi ones; device-mapper; the LUN format; a fence of a node that is writing; SAN power loss.
. "$(dirname "$0")/lib.sh"
for program in pr_contract_lun csv_map_contract csv_lun_contract scsi3pr/scsi3pr; do
	[ -x "$BUILD_DIR/$program" ] || skip "$BUILD_DIR/$program is not built (make check builds it)"
	for node in n1 n2; do
		lab push $node "$BUILD_DIR/$program" "/run/t-${program##*/}" || fail "push"
	done
done
pr() {  # pr NODE ARGS...
	local node=$1
	shift
	on "$node" /run/t-scsi3pr "$@"
}
disk() {  # the path of LUN id $2 on node $1
	pr "$1" --json list | jq -r --arg id "$2" '.luns[] | select(.id == $id) | .paths[0]'
}

id=$(pr n1 --json list | jq -r '.luns[-1].id')
d1=$(disk n1 "$id") d2=$(disk n2 "$id")
number=$(on n1 readlink "/sys/block/${d1#/dev/}/device")
number=${number##*:}
say "LUN $number, $id, is $d1 on n1 and $d2 on n2"
iqn=$(on n1 iscsiadm -m session | sed -n 's/.* \(iqn[^ ]*\).*/\1/p' | head -n 1)
san=$(on n1 iscsiadm -m session | sed -n 's/.* \([0-9.]*\):3260,.*/\1/p' | head -n 1)
url="iscsi://$san/$iqn/$number"

say "the contract on LIO: SG_IO and libiscsi"
on n1 /run/t-pr_contract_lun lio "$d1" "$url?initiator=iqn.2026-11.test:b&isid=800000000b00" \
	"$url?initiator=iqn.2026-11.test:c&isid=800000000c00" || fail "PR contract"
say "device-mapper"
on n1 /run/t-csv_map_contract "$d1" || fail "map contract"
say "LUN format, under a reservation"
k1=c5ffff0100000001 k2=c5ffff0200000001
pr n1 register "$d1" --key $k1 && pr n1 reserve "$d1" --key $k1 || fail "reserve"
on n1 /run/t-csv_lun_contract "$d1" || fail "LUN contract"
on n2 /run/t-csv_lun_contract "$d2" > /dev/null 2>&1 && fail "a stranger formatted a reserved LUN"
say "ok: a stranger cannot format it"

say "a fence of a node that writes"
pr n2 register "$d2" --key $k2 || fail "n2 registers"
on n1 sh -c "( while dd if=/dev/zero of=$d1 bs=64k count=16 seek=1024 oflag=direct 2>/run/t-dd.err; do
	echo >>/run/t-dd.count; done; echo ended >>/run/t-dd.err ) >/dev/null 2>&1 &"
wait_for 60 "n1 writes" on n1 test -s /run/t-dd.count
pr n2 preempt-abort "$d2" --key $k2 --victim $k1
is 0 $? "fenced with proof"
wait_for 60 "its writes ended" on n1 grep -q ended /run/t-dd.err
on n1 grep -q 'Invalid exchange' /run/t-dd.err || fail "not with EBADE: $(on n1 cat /run/t-dd.err)"
say "ok: with EBADE"
pr n1 check "$d1" --key $k1
is 3 $? "its poll says conflict"
pr n2 preempt-abort "$d2" --key $k2 --victim $k1
is 6 $? "the key is absent the second time"
pr n2 check "$d2" --key $k2
is 0 $? "the survivor is healthy"
is "$k2" "$(on n2 sg_persist --in --read-keys "$d2" | sed -n 's/^ *0x\(c5[0-9a-f]*\)$/\1/p')" \
	"sg_persist agrees on the keys"
on n2 sg_persist --in --read-reservation "$d2" | grep -q 'Exclusive Access, all registrants' ||
	fail "sg_persist sees another reservation"
say "ok: sg_persist agrees on the reservation"

say "the SAN loses power"
lab power-off san && lab power-on san || fail "power of the SAN"
wait_for 180 "n2 is healthy again: APTPL" pr n2 check "$d2" --key $k2
on n2 dd if=/dev/zero of="$d2" bs=4096 count=1 seek=9000 oflag=direct 2> /dev/null
is 0 $? "the survivor still writes"
on n1 dd if=/dev/zero of="$d1" bs=4096 count=1 seek=9000 oflag=direct 2> /dev/null
is 1 $? "the fenced node still does not"
pr n2 clear "$d2" --key $k2 --every-key || fail "clear"
