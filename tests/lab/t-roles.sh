#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=3 luns=1 fresh seconds=1500
# Who is served and who is not, on three nodes: an image to its VM's node alone, a certificate of another role at csvd's port,
# a user who fills csv.sock, a node whose clock says 1970.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
H=/var/lib/hftest
TLS=/var/lib/holdfast/tls

deploy_build n1 n2 n3
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
for node in n1 n2 n3; do
	on $node mkdir -p $H
	for file in vmlinuz initrd; do lab push $node "$W/$file" $H/$file || fail push; done
done
cluster_make n1 n2 n3
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"
owned_by_n1() { [ "$(owner_of vol1)" = n1 ]; }
ctl n1 volume move vol1 n1 > /dev/null 2>&1
wait_for 240 "n1 owns vol1" owned_by_n1

say "a certificate for each role"
for node in n1 n2 n3; do
	for role in csvd console join; do
		is "subject=CN = $node, OU = $role" "$(on $node cat $TLS/$role.pem | openssl x509 -noout -subject -nameopt oneline |
			sed 's/subject=OU = \(.*\), CN = \(.*\)/subject=CN = \2, OU = \1/')" "$node has a certificate for $role"
		is 600 "$(on $node stat -c %a $TLS/$role.key)" "and keeps its key"
	done
done

say "an image is served to its VM's node"
ctl n1 config export > "$W/empty.json" || fail "config export"
jq --arg h $H '.vms = [{name: "a", disks: [{volume: "vol1", path: "a.img", size: 1048576}], memory_mib: 128, cpus: 1,
	kernel: "\($h)/vmlinuz", initrd: "\($h)/initrd", append: "console=ttyS0 quiet hf.idle=1"}]' "$W/empty.json" > "$W/want.json"
lab push n1 "$W/want.json" /root/want.json && ctl n1 config import /root/want.json || fail "config import"
image() { on "$1" dd if=/clusterstorage/vol1/a.img of=/dev/null bs=4096 count=1 iflag=direct 2>&1; }
image n3 > "$W/dd" || fail "n3 cannot read the image of a VM that is stopped: $(cat "$W/dd")"
ctl n1 vm start a --to n2 || fail "vm start"
wait_for 240 "a runs on n2" vm_is a "running n2"
image n1 > "$W/dd" || fail "the owner's node cannot read the image: $(cat "$W/dd")"
image n3 > "$W/dd" && fail "n3 was served the image of a VM of n2"
say "ok: n3 is refused: $(head -n 1 "$W/dd")"
on n1 cat /run/holdfast/csvd.log | grep -q "node 3 was refused inode .* of VM a" || fail "csvd of n1 does not say whom it refused"
ctl n1 vm migrate a --to n3 || fail "vm migrate"
wait_for 240 "a runs on n3" vm_is a "running n3"
image n3 > "$W/dd" || fail "n3 cannot read its VM's image: $(cat "$W/dd")"
image n2 > "$W/dd" && fail "n2 is still served the image of a VM that left it"
ctl n1 volume move vol1 n2 || fail "volume move"
owned_by_n2() { [ "$(owner_of vol1)" = n2 ]; }
wait_for 240 "n2 owns vol1" owned_by_n2
is "running n3" "$(vm_at a)" "a runs on under another owner"
image n1 > "$W/dd" && fail "the new owner serves n1 the image of a VM of n3"
say "ok: a new owner knows whom it serves"

say "a certificate of another role"
cat > "$W/peer.py" <<'PY'
import socket, ssl, sys
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
c.load_cert_chain(f"/var/lib/holdfast/tls/{sys.argv[2]}.pem", f"/var/lib/holdfast/tls/{sys.argv[2]}.key")
s = c.wrap_socket(socket.create_connection((sys.argv[1], 7401), 20))
s.settimeout(60)
try:
    s.sendall(b"\0" * 200)
    print("answered" if s.recv(1) else "closed")
except (ssl.SSLError, ConnectionError) as e:
    print("closed")
PY
lab push n1 "$W/peer.py" /root/peer.py || fail push
for role in console join node; do
	on n1 test -e $TLS/$role.pem || continue
	is closed "$(on n1 python3 /root/peer.py "$(cluster_address n2)" $role)" "n2's csvd does not talk with a certificate for $role"
	sleep 6 # a line is said once in five seconds
done
on n2 cat /run/holdfast/csvd.log | grep -q "of n1 has the role 'console', allowed here is 'csvd'" || fail "csvd of n2 does not say why"

say "a user who fills csv.sock"
cat > "$W/flood.py" <<'PY'
import os, select, socket, time
os.setgid(65534)
os.setuid(65534)
s = []
for i in range(500):
    c = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    c.connect("/run/holdfast/csv.sock")
    s.append(c)
left = 500
for i in range(600):
    left = 500 - len(select.select(s, [], [], 0)[0])
    if left <= 4:
        break
    time.sleep(0.1)
print(left)
time.sleep(60)
PY
lab push n3 "$W/flood.py" /root/flood.py || fail push
threads() { on n3 sh -c 'grep Threads /proc/$(pidof csvd)/status' | tr -dc 0-9; }
before=$(threads)
on n3 sh -c 'setsid python3 /root/flood.py > /run/flood.out 2>&1 < /dev/null &'
flooded() { on n3 grep -q . /run/flood.out; }
wait_for 120 "500 connections were tried" flooded
left=$(on n3 cat /run/flood.out)
[ "$left" -le 4 ] || fail "uid 65534 holds $left sessions"
[ "$(threads)" -le $((before + 8)) ] || fail "csvd of n3 had $before threads, now $(threads)"
say "ok: uid 65534 keeps $left of 500 connections, csvd $(threads) threads (before: $before)"
ctl n1 vm stop a --force > /dev/null || fail "vm stop"
ctl n1 vm start a --to n3 || fail "vm start beside the flood"
wait_for 240 "a starts on n3 beside the flood" vm_is a "running n3"

say "a node whose clock says 1970"
on n3 date -s @90000 > /dev/null || fail "date"
on n3 sh -c 'kill -9 $(pidof csvd)'
attached() { on n3 sh -c 'grep -q " /clusterstorage/vol1 fuse" /proc/mounts && ls /clusterstorage/vol1/a.img' > /dev/null 2>&1; }
wait_for 240 "csvd of n3 attaches again in 1970" attached
ctl n1 volume move vol1 n3 || fail "volume move to a node in 1970"
owned() { [ "$(owner_of vol1)" = n3 ]; }
wait_for 240 "n3 owns vol1" owned
on n1 ls /clusterstorage/vol1/a.img > /dev/null || fail "n1 is not served by a node in 1970"
ctl n1 vm migrate a --to n1 || fail "vm migrate away from a node in 1970"
wait_for 240 "a runs on n1" vm_is a "running n1"
is 1970 "$(on n3 date +%Y)" "n3 is in 1970 still"
on n3 date -s "@$(date +%s)" > /dev/null
attached || fail "the clock is right again, and vol1 is gone from n3"
say "all of it"
