#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The pure archives must need nothing but a short list of C library functions
# and each other (snprintf formats into memory and counts as pure). PURE_ARCHIVES comes from make; a checker that finds nothing to check fails.
set -u
[ "${SANITIZERS:-no}" = yes ] && {
	echo "skipped: a sanitizer build calls its run-time library"
	exit 77
}
allowed='memcpy memset memcmp memmove memchr strlen strcmp strncmp strncpy strchr strstr strnlen __popcountdi2
__assert_fail __stack_chk_fail __memcpy_chk __memset_chk __memmove_chk _GLOBAL_OFFSET_TABLE_
bcmp snprintf __snprintf_chk vsnprintf __vsnprintf_chk'
[ -n "${PURE_ARCHIVES:-}" ] || {
	echo "PURE_ARCHIVES is empty" >&2
	exit 99
}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
# shellcheck disable=SC2086 # a list of archives
nm -g --defined-only $PURE_ARCHIVES | awk 'NF == 3 { print $3 }' | sort -u >"$tmp/defined"
[ -s "$tmp/defined" ] || {
	echo "no symbol found in $PURE_ARCHIVES" >&2
	exit 99
}
# shellcheck disable=SC2086 # a list of words
printf '%s\n' $allowed | sort -u >"$tmp/allowed"
sort -u "$tmp/defined" "$tmp/allowed" >"$tmp/known"
bad=0
for a in $PURE_ARCHIVES; do
	nm -u "$a" | awk '$1 == "U" { print $2 }' | sort -u | comm -23 - "$tmp/known" >"$tmp/bad"
	while read -r sym; do
		echo "$a: needs $sym; allowed: $(tr '\n' ' ' <"$tmp/allowed")" >&2
		bad=1
	done <"$tmp/bad"
	# file statics: writable data in a pure archive is hidden state
	# (.data.rel.ro holds constants with addresses in them: nm calls them "d" all the same)
	nm -f sysv "$a" | awk -F'|' 'NF == 7 && $3 ~ /^ *[bBdDcC] *$/ && $7 !~ /rel\.ro/ {
		gsub(/ /, "", $1); print $1 }' >"$tmp/bad"
	while read -r sym; do
		case $sym in *.rel.ro* | __func__* | __PRETTY_FUNCTION__*) continue ;; esac
		echo "$a: has writable static data $sym; allowed: static const" >&2
		bad=1
	done <"$tmp/bad"
done
exit $bad
