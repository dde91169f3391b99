#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: own seconds=1800
# The lab keeps its word: commands, exit status, state over a power cut, cables, freezing, the
# SAN's reservations over its own power cut, and nothing left behind, not even after a crash.
. "$(dirname "$0")/lib.sh"
export LAB_NAME=${LAB_NAME:-holdfast}-t

left() {
	ip netns list | grep -c "^lab-$LAB_NAME\b"
	pgrep -fc "^qemu-system.*holdfast-lab/$LAB_NAME/|^ssh.*holdfast-lab/$LAB_NAME/"
	find "/run/holdfast-lab/$LAB_NAME" "${LAB_CACHE:-$BUILD_DIR/lab}/run/$LAB_NAME" 2> /dev/null | wc -l
}
nothing=$(printf '0\n0\n0')
trap '"$LAB" down' EXIT

"$LAB" down
before=$(ip -o link | wc -l)
is "$nothing" "$(left)" "nothing there before"
lab exec n1 -- true 2> /dev/null
is 125 $? "a lab that is down says so"
lab up --nodes 1 --luns 2 --lun-size 512M || fail "up"

on n1 true
is 0 $? "exit status 0"
on n1 sh -c 'exit 42'
is 42 $? "exit status 42"
is "a b 'c'" "$(on n1 printf '%s' "a b 'c'")" "arguments arrive whole"
is "from stdin" "$(echo "from stdin" | on n1 cat)" "stdin is passed"
is "err" "$(on n1 sh -c 'echo err >&2' 2>&1 > /dev/null)" "stderr is apart"
is n1 "$(on n1 hostname)" "a node knows its name"
is 0 "$(on n1 id -u)" "commands run as root"
is 2 "$(on n1 sh -c 'ls /dev/disk/by-id | wc -l')" "both LUNs are there"
on n1 sh -c 'test -c /dev/kvm && test -c /dev/fuse' || fail "no /dev/kvm or /dev/fuse in the node"
lab up 2> /dev/null
is 1 $? "a second up is refused"
lab exec n7 -- true 2> /dev/null
is 125 $? "an unknown node is refused"

data=$(mktemp)
trap '"$LAB" down; rm -f "$data" "$data.back"' EXIT
head -c 100000 /dev/urandom > "$data"
lab push n1 "$data" /root/pushed && lab pull n1 /root/pushed "$data.back"
cmp "$data" "$data.back" || fail "push and pull change a file"
say "ok: push and pull"

dev=$(on n1 sh -c 'ls /dev/disk/by-id/wwn-* | head -n 1')
on n1 sh -c "sg_persist -n --out --register-ignore --param-sark=abc1 --param-aptpl $dev &&
	sg_persist -n --out --reserve --param-rk=abc1 --prout-type=8 $dev" || fail "reserving"
lab power-off san || fail "SAN power-off"
lab power-on san || fail "SAN power-on"
wait_for 120 "the reservation outlives the SAN's power cut" \
	sh -c "'$LAB' exec n1 -- sg_persist -n -r $dev | grep -q 'Exclusive Access, all registrants'"
on n1 sg_persist -n -k "$dev" | grep -q 0xabc1 || fail "the registration is gone"

boot=$(on n1 cat /proc/sys/kernel/random/boot_id)
on n1 sh -c 'echo kept > /var/lib/kept; echo gone > /opt/gone; sync'
lab power-off n1 || fail "power-off"
lab exec n1 -- true 2> /dev/null
is 125 $? "a node that is off says so"
lab power-on n1 || fail "power-on"
[ "$boot" != "$(on n1 cat /proc/sys/kernel/random/boot_id)" ] || fail "the node did not boot"
is kept "$(on n1 cat /var/lib/kept)" "/var/lib outlives a power cut"
on n1 test ! -e /opt/gone || fail "the root outlives a power cut"

for net in cluster:eth1 storage:eth2 vm:eth3; do
	lab link n1 "${net%:*}" down
	wait_for 30 "${net%:*} cable pulled" \
		sh -c "[ \"\$('$LAB' exec n1 -- cat /sys/class/net/${net#*:}/carrier)\" = 0 ]"
done
lab link n1 storage up
lab link n1 vm up
lab power-off n1 || fail "power-off again"
lab power-on n1 || fail "power-on again"
is 0 "$(on n1 cat /sys/class/net/eth1/carrier)" "a pulled cable stays pulled over a power cycle"
lab link n1 cluster up
wait_for 30 "cluster cable plugged" \
	sh -c "[ \"\$('$LAB' exec n1 -- cat /sys/class/net/eth1/carrier)\" = 1 ]"

lab pause n1
lab status --json | grep -q '"state": "paused"' || fail "pause is not seen"
timeout 3 "$LAB" exec n1 -- true < /dev/null
is 124 $? "a paused node does not answer"
lab unpause n1
is awake "$(on n1 echo awake)" "an unpaused node goes on"

stage=$(mktemp -d)
mkdir -p "$stage/usr/sbin" "$stage/sbin"
printf '#!/bin/sh\necho deployed\n' > "$stage/usr/sbin/lab-test-program"
chmod +x "$stage/usr/sbin/lab-test-program"
lab deploy "$stage" || fail "deploy"
rm -rf "$stage"
is deployed "$(on n1 lab-test-program)" "deploy installs files"
ip netns exec "$(lab netns)" bash -c 'exec 3<> /dev/tcp/10.77.0.11/22' || fail "the node cannot be reached"
lab console n1 --log | grep -q . || fail "the console showed nothing"

lab down
is "$nothing" "$(left)" "down leaves nothing"

# a tool that is killed half way through up
"$LAB" up --nodes 1 > /dev/null 2>&1 &
pid=$!
wait_for 120 "up is half way" sh -c "ip netns list | grep -q '^lab-$LAB_NAME\\b'"
kill -KILL $pid
wait $pid 2> /dev/null
lab down || fail "down after a crash"
is "$nothing" "$(left)" "down leaves nothing after a crash of up"
is "$before" "$(ip -o link | wc -l)" "the machine's own network is as before"
