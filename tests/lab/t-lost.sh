#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=3 luns=1 fresh seconds=1800
# lab-long: 15 minutes
# What a node can lose without anything of it breaking: its time (its hypervisor stops it for a minute), the paths to its LUN,
# the session by which the LUN knows it. Each time the VM runs elsewhere in the end, and never in two places:
# an outsider listens at the node's cable for frames of the VM.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
W=$(mktemp -d)
trap 'rm -rf "$W"; [ -z "${watcher:-}" ] || kill "$watcher" 2> /dev/null' EXIT
H=/var/lib/hftest GUEST=10.77.3.60 MAC=52:54:00:00:00:60

deploy_build n1 n2 n3
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
for node in n1 n2 n3; do
	on $node mkdir -p $H
	for file in vmlinuz initrd; do lab push $node "$W/$file" $H/$file || fail push; done
done
cluster_make n1 n2 n3
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"
ctl n1 cluster set storage-ms=10000 || fail "cluster set"
ctl n1 vm create w --kernel $H/vmlinuz --initrd $H/initrd --append "console=ttyS0 quiet hf.ip=$GUEST/24 hf.size_mib=16" \
	--memory 128M --disk vol1/w.img,size=16M --net vmbr0,mac=$MAC || fail "vm create"
ctl n1 vm start w || fail "vm start"

# Asks the network for the VM twenty times a second, and writes down when a frame of it comes in by the cable of node $1.
cat > "$W/watch.py" << 'END'
import socket, struct, sys, time
node, mac, guest, out = sys.argv[1:]
mac = bytes.fromhex(mac.replace(":", ""))
near = bytes.fromhex("52540000fffe")
ask = b"\xff" * 6 + near + bytes.fromhex("0806" "0001080006040001") + near + socket.inet_aton("10.77.3.1") + bytes(6) + socket.inet_aton(guest)
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
tap.bind((f"{node}-vm", 0))
tap.settimeout(0.05)
bridge = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
bridge.bind(("br-vm", 0))
asked = 0
with open(out, "w", buffering=1) as f:
    while True:
        if time.monotonic() - asked > 0.05:
            bridge.send(ask)
            asked = time.monotonic()
        try:
            frame, where = tap.recvfrom(65536)
        except TimeoutError:
            continue
        if where[2] != 4 and frame[6:12] == mac:  # not what the bridge sends to the node
            f.write(f"{time.time():.3f} {frame[12:14].hex()}\n")
END
watch() {  # watch NODE
	: > "$W/frames"
	ip netns exec "$(lab netns)" python3 "$W/watch.py" "$1" $MAC $GUEST "$W/frames" &
	watcher=$!
}
unwatch() { kill "$watcher"; wait "$watcher" 2> /dev/null; watcher=''; }
place() { vm_at w "$1" | sed -n 's/^running //p'; }
other_than() { for node in n1 n2 n3; do [ $node = "$1" ] || { echo $node; return; }; done; }
runs_not_on() { local now; now=$(place "$2"); [ -n "$now" ] && [ "$now" != "$1" ]; }
seen() { [ -s "$W/frames" ]; }
all_up() { for node in n1 n2 n3; do is_state "$1" $node up || return 1; done; }
answers() { ip netns exec "$(lab netns)" timeout 5 bash -c "exec 3<>/dev/tcp/$GUEST/7777; echo stamp >&3; read -r a <&3; [[ \$a == stamp* ]]" 2> /dev/null; }
wait_for 300 "the VM runs and answers" answers

say "a node that its hypervisor stops for a minute"
a=$(place n1)
b=$(other_than "$a")
on "$a" grep -q "leases end by the real-time clock" /var/log/clusterd.log || fail "$a has no real-time clock: $(on "$a" tail -n 3 /var/log/clusterd.log)"
watch "$a"
wait_for 60 "frames of the VM come from $a, where it runs" seen
unwatch
old=$(on "$a" cat /run/holdfast/vm/w/vmm.pid)
lab pause "$a" || fail "pause"
stopped=$SECONDS
wait_for 600 "the VM runs elsewhere" runs_not_on "$a" "$b"
wait_for 300 "and answers" answers
while [ $((SECONDS - stopped)) -lt 60 ]; do sleep 1; done
watch "$a"
sleep 1
seen && fail "frames of the VM from a node that stands still"
lab unpause "$a" || fail "unpause"
wait_for 600 "$a has ended its old copy" on "$a" sh -c "! kill -0 $old 2>/dev/null"
wait_for 600 "all nodes are up" all_up "$b"
unwatch
is "" "$(cat "$W/frames")" "not one frame of the old copy left $a"
on "$a" grep -h "VM w: frozen" /var/log/clusterd.log /run/holdfast/vm/w/vmm.log* 2> /dev/null | tail -n 2
wait_for 60 "the VM answers" answers

say "a node whose paths to the LUN are gone"
a=$(place "$b")
b=$(other_than "$a")
lab link "$a" storage down || fail "link"
wait_for 600 "the VM runs elsewhere" runs_not_on "$a" "$b"
wait_for 300 "and answers" answers
ctl "$b" why node "$a" | grep "does not answer it" || fail "why node $a: $(ctl "$b" why node "$a")"
lab link "$a" storage up || fail "link"
wait_for 600 "all nodes are up" all_up "$b"
attached() { ctl "$b" volume list --json | jq -e --arg n "$a" '.volumes[0].attached | index($n)' > /dev/null; }
wait_for 600 "$a has the volume again" attached

say "a session that is made anew"
a=$(owner_of vol1 "$b")
b=$(other_than "$a")
on "$a" sh -c 'iscsiadm -m node -u && iscsiadm -m node -l' > /dev/null || fail "logout and login"
owned_elsewhere() { local o; o=$(owner_of vol1 "$b"); [ -n "$o" ] && [ "$o" != null ] && [ "$o" != "$a" ]; }
wait_for 600 "another node owns the volume" owned_elsewhere
wait_for 600 "all nodes are up" all_up "$b"
running() { [ -n "$(place "$b")" ]; }
wait_for 600 "the VM runs" running
wait_for 300 "and answers" answers
wait_for 600 "$a has the volume again" attached
