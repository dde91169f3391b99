#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab-long: 5 minutes
# lab: nodes=2 luns=1 seconds=900
# One VM and the vmm alone, no cluster: it moves from n1 to n2 and back under load with one TCP connection kept open,
# is saved and restored; and everything that must not work does not and leaves it running. MIG_NODES=1 plays both sides on n1.
. "$(dirname "$0")/lib.sh"
D=/root/mig # in the nodes
N1=n1 N2=n2
[ "${MIG_NODES:-2}" = 1 ] && N2=n1
VMM=$BUILD_DIR/vmm/vmm
TUNNEL=$BUILD_DIR/vmm/tunnel/vmm-tunnel
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
STAMPCHECK=$BUILD_DIR/tests/lab/checker/stampcheck
for p in "$VMM" "$TUNNEL" "$STAMPER" "$STAMPCHECK"; do [ -x "$p" ] || skip "$p is not built"; done
W=$(mktemp -d)
GUEST=10.77.3.77
GUEST_MIB=${GUEST_MIB:-128}
PORT=7410
follower=
clean_up() {
	[ -z "$follower" ] || kill "$follower" 2> /dev/null
	for n in $N1 $N2; do on $n sh -c "for p in $D/*/run/vmm.pid; do kill -9 \$(cat \$p); done" 2> /dev/null; done
	rm -rf "$W"
}
trap clean_up EXIT

# --- set-up: programs, certificates (two CAs), the disk, configurations -------------------------------------------
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
cat > "$W/certs.sh" << 'CERTS'
set -e
cd "$1"
for ca in good bad; do
	openssl ecparam -name prime256v1 -genkey -noout -out $ca.key
	openssl req -x509 -new -key $ca.key -subj "/CN=$ca" -days 30 -out $ca.pem
done
cert() { # DIR CN CA
	mkdir -p "$1"
	openssl ecparam -name prime256v1 -genkey -noout -out "$1/node.key"
	openssl req -new -key "$1/node.key" -subj "/CN=$2" |
		openssl x509 -req -CA "$3.pem" -CAkey "$3.key" -set_serial 2 -days 30 -out "$1/node.pem"
	cp "$3.pem" "$1/ca.pem"
	chmod 600 "$1"/*
}
cert tls-n1 n1 good; cert tls-n2 n2 good; cert tls-bad n2 bad
CERTS
mkdir "$W/tls" && sh "$W/certs.sh" "$W/tls" 2> "$W/certs.log" || fail "certificates: $(tail -1 "$W/certs.log")"
for n in $(printf '%s\n' $N1 $N2 | sort -u); do
	on $n sh -c "rm -rf $D; mkdir -p -m 711 $D; chmod 711 /root; modprobe kvm_amd 2>/dev/null; modprobe tun 2>/dev/null; test -c /dev/kvm" || skip "$n has no /dev/kvm"
	for f in "$VMM" "$TUNNEL" "$W/vmlinuz" "$W/initrd" "$LAB_DIR/vmm/vmmctl"; do lab push $n "$f" "$D/$(basename "$f")" || fail push; done
	tar -C "$W" -c tls | on $n tar -C "$D" -x
	on $n chmod 755 "$D/vmm" "$D/vmm-tunnel" "$D/vmmctl"
	missing=$(on $n ldd $D/vmm | grep 'not found')
	[ -z "$missing" ] || skip "in the lab's root tree: $missing"
done
lun() { on "$1" sh -c 'ls /dev/disk/by-id/wwn-* | head -n 1'; }
DISK=$(lun $N1)
on $N1 dd if=/dev/zero of="$DISK" bs=1M count=16 oflag=direct 2> /dev/null || fail "no LUN"
on $N1 sh -c "ip link set vmbr0 up"; on $N2 sh -c "ip link set vmbr0 up"

n=0
start() { # start ROLE NODE GENERATION [vmm options]: a vmm of its own folder; sets S (its control socket)
	local role=$1 node=$2 gen=$3 dir
	shift 3
	n=$((n + 1))
	dir=$D/$role$n
	S=$dir/run/control.sock
	on "$node" sh -c "mkdir -p $dir/run && chmod 700 $dir/run && cat > $dir/config.json" << CONFIG
{"name":"mig","uuid":"5a3c2b10-0000-4000-8000-000000000077","generation":$gen,"memory_mib":$GUEST_MIB,"cpus":${CPUS:-2},
 "kernel":"$D/vmlinuz","initrd":"$D/initrd","uid":64077,
 "append":"console=ttyS0 panic=-1 hf.ip=$GUEST/24 hf.size_mib=16 hf.ram_mib=${RAM_MIB:-16} hf.swaps=${SWAPS:-40} hf.tell_every=50 hf.interval_ms=${INTERVAL_MS:-4}",
 "disks":[{"file":"$DISK"}],"nets":[{"tap":"mig$n","bridge":"vmbr0","mac":"52:54:00:4d:49:47"}],
 "run_dir":"$dir/run","downtime_ms":300,"paused":false}
CONFIG
	on "$node" sh -c "cd / && setsid $D/vmm --config $dir/config.json $* < /dev/null > $dir/start.log 2>&1 &"
	wait_for 200 "$role (generation $gen) on $node answers" on "$node" test -S "$S"
}
incoming() { # incoming ROLE NODE TLS GENERATION PEER: a vmm that waits for PEER; sets S
	start "$1" "$2" "$4" --incoming
	wait_for 200 "$1 waits" state_is "$2" "$S" incoming
	ctl "$2" "$S" receive at=0.0.0.0:$PORT peer="$5" tls="$D/tls/$3" > /dev/null || fail "$1: receive"
}
ctl() { on "$1" "$D/vmmctl" "${@:2}"; } # ctl NODE [--until EVENT] SOCKET VERB...
state() { ctl "$1" "$2" status 2> /dev/null | grep -o '"state": "[a-z]*"' | sed -n '1s/.*"\([a-z]*\)"$/\1/p'; } # of the VM; disks have theirs after it
state_is() { [ "$(state "$1" "$2")" = "$3" ]; }
gone() { ! ctl "$1" "$2" status > /dev/null 2>&1; }
figure() { sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p" <<< "$1" | tail -n 1; }
acks() { grep -c ' ack ' "$W/acks"; }
hears_on() { # the guest's acknowledgements go on
	local before
	before=$(acks)
	wait_for 400 "the guest goes on${1:+ ($1)}" sh -c "[ \$(grep -c ' ack ' '$W/acks') -gt $((before + 20)) ]"
}
address() { on "$1" sh -c "ip -4 -o addr show eth1 | sed 's/.*inet \([0-9.]*\).*/\1/'"; }

# --- boot, and what is left of its privileges -----------------------------------------------------------------------
start a $N1 1
A=$S
wait_for 200 "it runs" state_is $N1 "$A" running
ip netns exec "$(lab netns)" python3 "$LAB_DIR/scenarios/story/follow_client.py" $GUEST "$W/acks" &
follower=$!
touch "$W/acks"
wait_for 900 "the guest answers" sh -c "[ \$(grep -c ' ack ' '$W/acks') -gt 50 ]"
privileges() { on $N1 sh -c "cat /proc/\$(cat ${A%/*}/vmm.pid)/status" | tr '\t' ' ' | grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):'; }
privileges | sed 's/^/    /'
privileges | grep -q '^Uid: 64077 64077 64077 64077$' || fail "its uid"
[ "$(privileges | grep -cE '^Cap(Eff|Prm|Bnd): 0000000000000000$')" = 3 ] || fail "capabilities"
privileges | grep -q '^Seccomp: 2$' && privileges | grep -q '^NoNewPrivs: 1$' || fail "seccomp"
say "ok: own uid, no capability, no_new_privs, seccomp"
is 0 "$(on $N1 sh -c "ls -l /proc/\$(cat ${A%/*}/vmm.pid)/fd | grep -c 'socket:.*TCP\|node.key'")" "it has no key and no network"
is 1 "$(on $N1 sh -c "nsenter -n -t \$(cat ${A%/*}/vmm.pid) ip -o link | wc -l")" "its network has lo alone"
is "64077" "$(on $N1 sh -c "ps -o pid,sid,user -p \$(cat ${A%/*}/vmm.pid) >/dev/null 2>&1; stat -c %u /proc/\$(cat ${A%/*}/vmm.pid)")" "its process is the VM user's"

# --- there: a live migration with the memory of both sides compared at the end --------------------------------------
move() { # move FROM_NODE FROM_SOCK TO_NODE GENERATION PEER [more]: sets S; prints figures
	local from=$1 sock=$2 to=$3 gen=$4 peer=$5 out end r waiter
	shift 5
	incoming in "$to" "tls-$peer" $((gen - 1)) "$(peer_of "$peer")"
	# This test is the cluster: its commit is that it resumes the destination, in the node so that it costs no time.
	on "$to" sh -c "$D/vmmctl --timeout 900 --until migration-ready,exit $S events , resume generation=$gen" > "$W/resumed" 2>&1 &
	waiter=$!
	out=$(ctl "$from" --until migration-switched,migration-failed --timeout 900 "$sock" migrate \
		to="$(address "$to"):$PORT" peer="$peer" tls="$D/tls/tls-$(peer_of "$peer")" "$@") || fail "migrate: $out"
	grep -q migration-switched <<< "$out" || fail "migration: $out"
	wait $waiter || fail "resume: $(tail -n 1 "$W/resumed")"
	r=$(cat "$W/resumed")
	ctl "$from" "$sock" migrate-finish outcome=committed > /dev/null || fail "finish"
	end=$(ctl "$to" "$S" status)
	say "sent $(($(figure "$out" sent) >> 20)) MiB in $(figure "$out" rounds) rounds, $(figure "$out" total_ms) ms; paused to sent $(($(figure "$out" switch_us) / 1000)) ms, loading $(($(figure "$end" load_us) / 1000)) ms, guest stopped $(($(figure "$r" downtime_us) / 1000)) ms"
	grep -o '"est_downtime_ms[^,}]*' <<< "$out" | tail -n 1 | sed 's/^/    /'
	wait_for 200 "the source is gone" gone "$from" "$sock"
}
peer_of() { if [ "$1" = n1 ]; then echo n2; else echo n1; fi; }
move $N1 "$A" $N2 2 n2 verify=true
B=$S
hears_on "on the destination"
generation() { tail -n 3 "$W/acks" | sed -n 's/.* ack [0-9]* \([0-9]*\) .*/\1/p' | tail -n 1; }
wait_for 200 "its stamps carry generation 2" sh -c "tail -n 40 '$W/acks' | grep -q ' ack [0-9]* 2 '"

# --- and back ---------------------------------------------------------------------------------------------------------
move $N2 "$B" $N1 3 n1
A=$S
hears_on "back"

# --- what must fail, and leave it running -----------------------------------------------------------------------------
refused() { # refused WHAT PATTERN CMD...
	local what=$1 pattern=$2 out
	shift 2
	out=$("$@" 2>&1) && fail "$what is not refused: $out"
	grep -q "$pattern" <<< "$out" || fail "$what: expected '$pattern', got '$out'"
	say "ok: $what: $(tail -n 1 <<< "$out")"
}
fails() { # fails WHAT PATTERN migrate-arguments...: an event migration-failed, and A runs on
	local what=$1 pattern=$2 out
	shift 2
	out=$(ctl $N1 --until migration-switched,migration-failed --timeout 900 "$A" migrate "$@" 2>&1)
	grep -q "migration-failed.*$pattern" <<< "$out" || fail "$what: expected '$pattern', got '$out'"
	wait_for 150 "$what: it runs on" state_is $N1 "$A" running
	say "   $(grep -o '"error": "[^"]*"' <<< "$out")"
}
T="tls=$D/tls/tls-n1"
refused "an unknown verb" EOPNOTSUPP ctl $N1 "$A" fly
refused "resume of a running VM with a generation" EINVAL ctl $N1 "$A" resume generation=9
refused "migrate-finish committed without a migration" EINVAL ctl $N1 "$A" migrate-finish outcome=committed
refused "cancel without a migration" ENOENT ctl $N1 "$A" migrate-cancel
refused "nobody listens" "cannot connect" ctl $N1 "$A" migrate to="$(address $N2):7499" peer=n2 $T
state_is $N1 "$A" running || fail "it runs on"
incoming wrongca $N2 tls-bad 3 n1
refused "a CA that is not ours" "TLS" ctl $N1 "$A" migrate to="$(address $N2):$PORT" peer=n2 $T
is incoming "$(state $N2 "$S")" "the stranger still waits"
ctl $N2 "$S" quit > /dev/null
wait_for 150 "the stranger ends" gone $N2 "$S"
incoming wrongname $N2 tls-n2 3 n9
fails "a destination that expects another node" "closed the connection" to="$(address $N2):$PORT" peer=n2 $T
refused "a node that is not the one asked for" "is node n2, expected is node n7" ctl $N1 "$A" migrate to="$(address $N2):$PORT" peer=n7 $T
ctl $N2 "$S" quit > /dev/null
wait_for 150 "it ends" gone $N2 "$S"

incoming cancelled $N2 tls-n2 3 n1
ctl $N1 --until migration-progress --timeout 400 "$A" migrate to="$(address $N2):$PORT" peer=n2 $T bandwidth_bps=2000000 > /dev/null || fail "slow migration"
refused "a save meanwhile" "is migrating" ctl $N1 "$A" save path=$D/x
ctl $N1 "$A" migrate-cancel > /dev/null || fail cancel
wait_for 150 "cancelled: it runs on" state_is $N1 "$A" running
wait_for 150 "cancelled: the destination ends" gone $N2 "$S"
hears_on "after a cancel"

incoming killed $N2 tls-n2 3 n1
ctl $N1 --until migration-progress --timeout 400 "$A" migrate to="$(address $N2):$PORT" peer=n2 $T bandwidth_bps=2000000 > /dev/null || fail "slow migration"
on $N2 sh -c "kill -9 \$(cat ${S%/*}/vmm.pid)"
wait_for 200 "destination killed midway: it runs on" state_is $N1 "$A" running
hears_on "after the destination was killed"

incoming aborted $N2 tls-n2 3 n1
ctl $N1 --until migration-switched,migration-failed --timeout 900 "$A" migrate to="$(address $N2):$PORT" peer=n2 $T > "$W/out" || fail migrate
wait_for 200 "the destination is ready" state_is $N2 "$S" ready
is switched "$(state $N1 "$A")" "the source waits to be told"
refused "cancel after the switch-over" EBUSY ctl $N1 "$A" migrate-cancel
refused "resume of a switched source" EINVAL ctl $N1 "$A" resume
refused "resume with an old generation" ESTALE ctl $N2 "$S" resume generation=3
on $N2 sh -c "kill -9 \$(cat ${S%/*}/vmm.pid)"
sleep 3
is switched "$(state $N1 "$A")" "the destination died after the switch-over: the source still waits"
ctl $N1 "$A" migrate-finish outcome=aborted > /dev/null || fail "aborted"
wait_for 150 "aborted: it runs on" state_is $N1 "$A" running
hears_on "after an abort"

# --- save and restore -------------------------------------------------------------------------------------------------
on $N1 sh -c "mkdir -p $D/save"
refused "a save without a file" EINVAL ctl $N1 "$A" save
wait_for 150 "it runs on" state_is $N1 "$A" running
saved=$(ctl $N1 "$A" save path=$D/save/vm) || fail save
say "saved $(($(figure "$saved" bytes) >> 20)) MiB in $(figure "$saved" total_ms) ms, paused for $(figure "$saved" paused_ms) ms of it"
is saved "$(state $N1 "$A")" "state"
ctl $N1 "$A" quit > /dev/null || fail quit
wait_for 150 "it ends" gone $N1 "$A"
size=$(on $N1 stat -c %s $D/save/vm)
on $N1 sh -c "cp $D/save/vm $D/save/bad && printf X | dd of=$D/save/bad bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null; head -c $((size - 7)) $D/save/vm > $D/save/cut"
for bad in bad cut; do
	dir=$D/a1
	out=$(on $N1 sh -c "$D/vmm --config $dir/config.json --restore $D/save/$bad --foreground 2>&1")
	status=$?
	[ $status -ne 0 ] || fail "a $bad file is taken"
	grep -q "corrupt at offset" <<< "$out" || fail "a $bad file: $out"
	say "ok: $bad file refused ($status): $(grep -o 'saved VM.*' <<< "$out")"
done
start r $N1 3 --restore $D/save/vm
wait_for 200 "restored" state_is $N1 "$S" ready
refused "resume without a generation" ESTALE ctl $N1 "$S" resume
ctl $N1 "$S" resume generation=4 || fail resume
A=$S
hears_on "restored"
wait_for 200 "its stamps carry generation 4" sh -c "tail -n 40 '$W/acks' | grep -q ' ack [0-9]* 4 '"

# --- the end, and the judgement ---------------------------------------------------------------------------------------
ctl $N1 --until exit --timeout 400 "$A" shutdown > /dev/null || fail "power button"
wait_for 200 "it ends" gone $N1 "$A"
kill "$follower"
follower=
on $N1 sh -c "dd if=$DISK bs=1M count=16 iflag=direct 2>/dev/null" > "$W/disk"
"$STAMPCHECK" "$W/disk" --acks "$W/acks" || fail "the disk's stamps"
is 1 "$(sed -n 's/^[0-9]* \([^ ]*\) ack .*/\1/p' "$W/acks" | sort -u | wc -l)" "one TCP connection throughout"
# The guest's clock never goes back, and over all moves it runs no further than time did (what is heard late aside).
awk '/ ack / { if ($6 != boot && boot != "") bad = "another boot"; boot = $6
	if ($7 + 0 < mono + 0) bad = "the guest clock went back at stamp " $4
	if (mono == "") { heard0 = $1; mono0 = $7 }
	heard = $1; mono = $7 }
	END { ahead = ((mono - mono0) - (heard - heard0)) / 1e9
	if (ahead > 5) bad = "the guest clock ran ahead by " ahead " s"
	print bad ? bad : "one boot, clocks never went back nor ahead"; exit bad != "" }' "$W/acks" || fail "clock"
echo "all of it held"
