#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# drain-node beside a clusterctl and a systemctl of this test: when it moves, when it must not, what it remembers.
set -u
src=$(cd "${top_srcdir:-../../..}" && pwd) bad=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/etc/default" "$dir/state"
cat > "$dir/bin/clusterctl" << 'END'
#!/bin/sh
echo "$*" >> "$DIR/asked"
case "$1 $2" in
"node list")
	state=$(cat "$DIR/node") || exit 3
	printf 'NODE  STATE  ADDRESS\nn1  up  10.0.0.1\nn2 *  %s  10.0.0.2\n' "$state" ;;
"node pause") cat "$DIR/pause-status" > /dev/null 2>&1 && exit "$(cat "$DIR/pause-status")"; echo paused > "$DIR/node" ;;
"node resume") echo up > "$DIR/node" ;;
esac
END
printf '#!/bin/sh\ncat "$DIR/system"\n' > "$dir/bin/systemctl"
printf '#!/bin/sh\n:\n' > "$dir/bin/sleep"
chmod +x "$dir"/bin/*
export DIR="$dir" PATH="$dir/bin:$PATH" HOLDFAST_STATE_DIR="$dir/state" HOLDFAST_ETC_DIR="$dir/etc"
marker=$dir/state/drained-by-shutdown

run() {  # run NODE-STATE SYSTEM-STATE ARGS...
	echo "$1" > "$dir/node"
	[ -n "$1" ] || rm -f "$dir/node"
	echo "$2" > "$dir/system"
	: > "$dir/asked"
	shift 2
	said=$("$src/conf/drain-node" "$@" 2>&1)
	status=$?
}
# want WHAT STATUS ASKED|- MARKER(yes|no)
want() {
	[ "$status" = "$2" ] || { echo "$1: status $status, not $2: $said"; bad=1; }
	if [ "$3" = - ]; then
		grep -q 'pause\|resume' "$dir/asked" && { echo "$1: asked $(cat "$dir/asked")"; bad=1; }
	elif ! grep -qxF "$3" "$dir/asked"; then
		echo "$1: did not ask '$3' but: $(cat "$dir/asked")"
		bad=1
	fi
	[ -e "$marker" ] && m=yes || m=no
	[ "$m" = "$4" ] || { echo "$1: marker $m, not $4"; bad=1; }
}

run up running stop
want "a restart of the unit moves nothing" 0 - no
run up stopping stop
want "the host goes down" 0 "node pause n2 --drain --timeout 300" yes
run paused running start
want "it comes back" 0 "node resume n2 --failback --timeout 60" no
run paused stopping stop
want "paused by somebody: drained" 0 "node pause n2 --drain --timeout 300" no
run paused running start
want "and stays paused after the boot" 0 - no
run '' stopping stop
want "clusterd does not answer" 0 - no
run lost stopping stop
want "a node that is out has nothing to move" 0 - no
echo 4 > "$dir/pause-status"
echo DRAIN_SECONDS=99999 > "$dir/etc/default/holdfast"
run up stopping stop
want "a drain that does not end is told, within the most that is allowed" 1 "node pause n2 --drain --timeout 1800" yes
rm -f "$dir/pause-status"
run '' running start
want "a cluster that does not come leaves the boot alone" 0 - no
echo DRAIN_SECONDS=0 > "$dir/etc/default/holdfast"
run up stopping stop
want "DRAIN_SECONDS=0" 0 - no
echo 'DRAIN_SECONDS="1 ; x"' > "$dir/etc/default/holdfast"
run up running stop --now
want "--now, and a number that is none" 0 "node pause n2 --drain --timeout 300" yes
run up running perhaps
[ "$status" = 2 ] || { echo "a wrong word: status $status"; bad=1; }
[ $bad = 0 ]
