#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# stamper and stampcheck together, without a guest: a restart is good, two at once are caught, so is damage.
set -u
stamper=${top_builddir:?make check sets it}/tests/lab/guest/stamper
check=$top_builddir/tests/lab/checker/stampcheck
if [ ! -x "$stamper" ] || [ ! -x "$check" ]; then
	echo "SKIP: stamper and stampcheck are static and not built with sanitizers"
	exit 77
fi
dir=$(mktemp -d ./stamper-test.XXXXXX) || exit 1
pids='' p=''
trap 'for p in $pids; do kill "$p" 2>/dev/null; done; rm -rf "$dir"' EXIT
failed=0
expect() { # STATUS WORDS COMMAND...
	want=$1 words=$2
	shift 2
	said=$("$@" 2>&1)
	got=$?
	if [ $got -ne "$want" ] || ! echo "$said" | grep -q "$words"; then
		echo "FAIL: $*: status $got, wanted $want and '$words': $said"
		failed=1
	fi
}
stamp() { "$stamper" --disk "$dir/disk" --port 0 --ram-mib 1 --tell-every 1 "$@"; }

truncate -s 1M "$dir/disk"
expect 2 "nothing was ever written" "$check" "$dir/disk"
if ! stamp --count 200 --interval-ms 0 >"$dir/a" 2>"$dir/err"; then
	if grep -q "Invalid argument" "$dir/err"; then
		echo "SKIP: no O_DIRECT in $PWD"
		exit 77
	fi
	cat "$dir/err"
	exit 1
fi
expect 0 "GOOD: 200 stamps .* 200 acknowledged" "$check" "$dir/disk" --acks "$dir/a"
stamp --count 100 --interval-ms 0 >"$dir/b" || failed=1
expect 0 "GOOD: 300 stamps .* 2 boots, 2 generations, 300 ack" "$check" "$dir/disk" \
	--acks "$dir/a" --acks "$dir/b"
expect 0 '"good": true' "$check" "$dir/disk" --json

# Damage: an older copy of the whole disk comes back; a stamp is lost; a byte is flipped.
cp "$dir/disk" "$dir/whole"
dd if=/dev/zero of="$dir/disk" bs=512 seek=$((8 + 299)) count=1 conv=notrunc 2>/dev/null
expect 1 "an acknowledged stamp is lost" "$check" "$dir/disk" --acks "$dir/b"
expect 0 GOOD "$check" "$dir/disk" --acks "$dir/b" --skip ack-lost
dd if=/dev/zero of="$dir/disk" bs=512 seek=$((8 + 40)) count=1 conv=notrunc 2>/dev/null
expect 1 "a stamp is missing" "$check" "$dir/disk"
cp "$dir/whole" "$dir/disk"
printf X | dd of="$dir/disk" bs=1 seek=$((4096 + 512 * 7 + 100)) conv=notrunc 2>/dev/null
expect 1 "neither a whole stamp nor empty" "$check" "$dir/disk"

# Two at once: the first is well on its way when the second comes and thinks that it is alone.
rm -f "$dir/disk"
truncate -s 1M "$dir/disk"
# not through the function: $! must be the stamper, not a shell that waits for it
"$stamper" --disk "$dir/disk" --port 0 --ram-mib 1 --tell-every 1 --interval-ms 2 --count 100000 \
	>"$dir/a" 2>/dev/null &
pids=$!
n=0
while [ "$(wc -l <"$dir/a")" -lt 30 ] && [ $n -lt 600 ]; do
	sleep 0.1
	n=$((n + 1))
done
stamp --interval-ms 2 --count 200 >"$dir/b" 2>/dev/null
kill "$pids"
wait "$pids" 2>/dev/null
expect 1 "two writers" "$check" "$dir/disk" --acks "$dir/a" --acks "$dir/b"

echo x >"$dir/junk"
truncate -s 1M "$dir/junk"
expect 2 "no superblock" "$check" "$dir/junk"
expect 1 "holds something that is not ours" "$stamper" --disk "$dir/junk" --port 0
expect 2 usage "$check"
expect 2 usage "$check" "$dir/disk" --skip nosuch
expect 2 usage "$stamper" --nosuch
[ $failed -eq 0 ] && echo "stamper and stampcheck agree"
exit $failed
