#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: run.sh [SECONDS [TARGET...]]
# Builds and runs each *_fuzz.c of this folder with libFuzzer, ASan and UBSan for SECONDS (30).  A target names what it
# is linked with in a comment line "fuzz-sources: FILE..." (and "fuzz-flags: ..."), paths from the top of the tree.
# What was found interesting is kept in build/fuzz/TARGET, so that the next run goes on from there.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 99
top=$(cd "$here/../.." && pwd) || exit 99
seconds=${1:-30}
[ $# -gt 0 ] && shift
command -v clang >/dev/null || {
	echo "skipped: clang is missing"
	exit 77
}
out=${FUZZ_DIR:-$top/build/fuzz}
if [ $# -eq 0 ]; then
	for t in "$here"/*_fuzz.c; do
		t=${t##*/}
		set -- "$@" "${t%.c}"
	done
fi
bad=0
for t; do
	src=$here/$t.c
	deps=$(sed -n 's,^.*fuzz-sources: *,,p' "$src")
	flags=$(sed -n 's,^.*fuzz-flags: *,,p' "$src")
	mkdir -p "$out/$t" || exit 99
	# shellcheck disable=SC2086 # lists of words
	(cd "$top" && clang -std=gnu17 -D_GNU_SOURCE -g -O1 -I. -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined $flags -o "$out/$t.bin" "$src" $deps) || {
		bad=1
		continue
	}
	if nice "$out/$t.bin" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=1024 -max_len=65536 \
		-artifact_prefix="$out/$t-" "$out/$t" >"$out/$t.log" 2>&1; then
		echo "$t: $(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' "$out/$t.log"), nothing found"
	else
		echo "$t: FAILED, see $out/$t.log" >&2
		tail -n 20 "$out/$t.log" >&2
		bad=1
	fi
done
exit $bad
