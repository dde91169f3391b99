#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Each header compiles alone and has its guard.
set -u
: "${CC:=cc}" "${HEADER_CFLAGS:=}" "${srcdir:=.}"
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
bad=0
n=0
for h in $(cd "$srcdir" && find common quorum scsi3pr fencing csv vmm clusterd resources -name '*.h' | sort); do
	n=$((n + 1))
	printf '#include "%s"\n#include "%s"\n' "$h" "$h" >"$tmp/h.c"
	# shellcheck disable=SC2086 # flags are a list
	if ! $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only \
		-I "$srcdir" $HEADER_CFLAGS "$tmp/h.c" >"$tmp/log" 2>&1; then
		echo "$h: does not compile alone (twice):" >&2
		head -n 5 "$tmp/log" >&2
		bad=1
	fi
done
[ "$n" -gt 0 ] || {
	echo "no header found below $srcdir" >&2
	exit 99
}
exit $bad
