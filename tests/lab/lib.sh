# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For lab tests: `. "$(dirname "$0")/lib.sh"` first. Exit status 77 with a line "SKIP: what is
# missing" skips. No absolute times: wait_for has generous bounds.
set -u
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB=$LAB_DIR/lab
BUILD_DIR=${BUILD_DIR:-$(cd "$LAB_DIR/../.." && pwd)/build}
export BUILD_DIR

lab() { "$LAB" "$@"; }
on() {  # on NODE CMD...: a command in a node
	local node=$1
	shift
	"$LAB" exec "$node" -- "$@"
}
say() { echo "  $*"; }
fail() {
	echo "FAIL: $*"
	exit 1
}
skip() {
	echo "SKIP: $*"
	exit 77
}
# is EXPECTED GOT WHAT
is() {
	[ "$1" = "$2" ] || fail "$3: expected '$1', got '$2'"
	say "ok: $3"
}
# wait_for SECONDS WHAT CMD...: until the command succeeds
wait_for() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "gave up waiting for $what"
		sleep 0.5
	done
	say "ok: $what"
}
