# shellcheck shell=bash disable=SC2034 # its readers use them
# SPDX-License-Identifier: GPL-2.0-or-later
# For lab tests of csvd without clusterd, after lib.sh: one volume, v1, of nodes n1 and n2, by csvd's sockets.
HERE=$LAB_DIR/csv
DEV=/dev/disk/by-id/wwn-0x600140500000001401dfa57000000000
LUN=naa.600140500000001401dfa57000000000
CLUSTER=11111111-2222-3333-4444-555555555555
VOLUME=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee
NODES='[{"id":1,"name":"n1","address":"10.77.1.11"},{"id":2,"name":"n2","address":"10.77.1.12"}]'
MNT=/clusterstorage/v1
TERM_NO=0
step() { echo "== $* ($SECONDS s)"; }

for p in csvd csvtool scsi3pr/scsi3pr; do
	[ -x "$BUILD_DIR/$p" ] || skip "$BUILD_DIR/$p is not built"
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

key() { echo "0xc5000000000000$1$2"; } # key NODE INCARNATION
ctl() { # ctl NODE VERB ARG...
	local node=$1
	shift
	on "$node" /root/csv/csvctl -t 600 "$@" 2> "$tmp/err"
}
state() { ctl "$1" status | python3 -c 'import json,sys; v=json.load(sys.stdin)["volumes"]; print(v[0]["state"] if v else "none")'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
held() { on "$1" cat /root/csv/hold.out; }

certificates() {
	local ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
	# shellcheck disable=SC2086 # options
	openssl req -x509 $ec -keyout "$tmp/ca.key" -out "$tmp/ca.pem" -subj /CN=test -days 30 2> /dev/null
	for n in n1 n2; do
		mkdir -p "$tmp/$n/csv" "$tmp/$n/tls"
		# shellcheck disable=SC2086
		openssl req $ec -keyout "$tmp/$n/tls/csvd.key" -out "$tmp/$n.csr" -subj "/CN=$n/OU=csvd" 2> /dev/null
		openssl x509 -req -in "$tmp/$n.csr" -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" -CAcreateserial \
			-out "$tmp/$n/tls/csvd.pem" -days 30 2> /dev/null
		cp "$tmp/ca.pem" "$tmp/$n/tls/ca.pem"
	done
}
stage() { # stage NODE: programs and certificates, by one archive
	cp "$BUILD_DIR/csvd" "$BUILD_DIR/csvtool" "$BUILD_DIR/scsi3pr/scsi3pr" "$HERE/csvctl" "$HERE/fsx.py" "$tmp/$1/csv/"
	strip "$tmp/$1/csv/csvd" "$tmp/$1/csv/csvtool" "$tmp/$1/csv/scsi3pr"
	tar -C "$tmp/$1" -cf "$tmp/$1.tar" csv tls
	lab push "$1" "$tmp/$1.tar" /root/csv.tar
	on "$1" sh -c 'touch /run/lab/no-clusterd; mkdir -p /var/lib/holdfast && chmod 700 /var/lib/holdfast &&
		cd /root && tar xf csv.tar && rm -rf /var/lib/holdfast/tls && mv tls /var/lib/holdfast/ &&
		chmod 600 /var/lib/holdfast/tls/*' || fail "staging $1"
}
csvd_start() {
	on "$1" sh -c 'setsid /root/csv/csvd >> /root/csv/csvd.log 2>&1 < /dev/null & echo $! > /root/csv/csvd.pid
		i=0; until [ -S /run/holdfast/csvd.sock ] || [ $i -gt 300 ]; do sleep 0.1; i=$((i + 1)); done'
	ctl "$1" configure node="${1#n}" name="$1" address="10.77.1.1${1#n}" epoch=1 nodes="$NODES" > /dev/null ||
		fail "configure $1: $(cat "$tmp/err")"
}
csvd_kill() { on "$1" sh -c 'kill -9 $(cat /root/csv/csvd.pid); rm -f /run/holdfast/csvd.sock'; }
attach() { # attach NODE INCARNATION
	ctl "$1" attach volume=v1 uuid=$VOLUME lun=$LUN device=$DEV prkey="$(key "${1#n}" "$2")" > /dev/null ||
		fail "attach $1: $(cat "$tmp/err")"
}
own() { # own NODE MEMBERS FRESH
	ctl "$1" own volume=v1 term=$TERM_NO members="$2" fresh="$3" > /dev/null || fail "own $1: $(cat "$tmp/err")"
}
tell_owner() { ctl "$1" owner volume=v1 term=$TERM_NO owner="${2#n}" address="10.77.1.1${2#n}" > /dev/null; }
pr() { on "$1" sh -c "/root/csv/scsi3pr \$0 \$(readlink -f $DEV) \"\$@\"" "${@:2}"; }

hold() { # hold NODE GENERATION SECONDS
	on "$1" sh -c "rm -f /root/csv/hold.out; setsid /root/csv/csvtool hold v1 images/d1.img vm1 $2 $3 > /root/csv/hold.out 2>&1 < /dev/null &"
	wait_for 180 "disk open on $1, generation $2" on "$1" grep -q "^open" /root/csv/hold.out
	is "open direct 33554432" "$(held "$1" | head -n 1)" "it is direct"
}

volume_up() { # n1 formats and owns it, both are direct
	certificates
	for n in n1 n2; do
		stage $n
		pr $n register --key "$(key ${n#n} 1)" > /dev/null || fail "register $n"
	done
	pr n1 reserve --key "$(key 1 1)" > /dev/null || fail "reserve"
	on n1 /root/csv/csvtool format $DEV v1 $CLUSTER $VOLUME || fail "format"
	for n in n1 n2; do
		csvd_start $n
		attach $n 1
	done
	is paused "$(state n2)" "a volume without an owner is paused"
	TERM_NO=1
	own n1 '[1,2]' true
	tell_owner n2 n1
	for n in n1 n2; do wait_for 180 "$n direct" is_state $n direct; done
}
