#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: run.sh [SECONDS [TARGET...]]
# Builds and runs each *_fuzz.c of this folder with libFuzzer, ASan and UBSan for SECONDS (30), FUZZ_JOBS (one a core) at
# once.  A target names what it is linked with in a comment line "fuzz-sources: FILE..." (and "fuzz-flags: ..."), paths from
# the top of the tree.  It begins with what corpus.c makes for it and with what earlier runs kept in build/fuzz/TARGET.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 99
top=$(cd "$here/../.." && pwd) || exit 99
out=${FUZZ_DIR:-$top/build/fuzz}

# build NAME SANITIZERS
build() {
	deps=$(sed -n 's,^.*fuzz-sources: *,,p' "$here/$1.c" | tr '\n' ' ')
	flags=$(sed -n 's,^.*fuzz-flags: *,,p' "$here/$1.c" | sed 's,"/x","\\"/x\\"",g')
	(cd "$top" && eval clang -std=gnu17 -D_GNU_SOURCE -g -O1 -I. -fsanitize="$2" \
		-fno-sanitize-recover=undefined -o '"$out/$1.bin"' '"$here/$1.c"' "$deps" "$flags")
}

# one SECONDS TARGET: 0 if nothing was found
one() {
	t=$2
	corpus=
	[ -d "$out/corpus/$t" ] && corpus=$out/corpus/$t
	mkdir -p "$out/$t" || return 99
	build "$t" fuzzer,address,undefined || {
		echo "$t: FAILED to build"
		return 1
	}
	# shellcheck disable=SC2086 # corpus may be empty
	if nice "$out/$t.bin" -max_total_time="$1" -timeout=25 -rss_limit_mb=2048 -max_len=65536 \
		-artifact_prefix="$out/$t-" "$out/$t" $corpus >"$out/$t.log" 2>&1; then
		echo "$t: $(sed -n 's/^Done \([0-9]*\) runs.*/\1 runs/p' "$out/$t.log")," \
			"$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$out/$t.log" | tail -n 1) edges, nothing found"
	else
		echo "$t: FAILED, see $out/$t.log"
		tail -n 20 "$out/$t.log"
		return 1
	fi
}

if [ "${1:-}" = --one ]; then
	one "$2" "$3"
	exit
fi
seconds=${1:-30}
[ $# -gt 0 ] && shift
command -v clang >/dev/null || {
	echo "skipped: clang is missing"
	exit 77
}
if [ $# -eq 0 ]; then
	for t in "$here"/*_fuzz.c; do
		t=${t##*/}
		set -- "$@" "${t%.c}"
	done
fi
mkdir -p "$out" || exit 99
rm -rf "$out/corpus"
if ! build corpus undefined || ! "$out/corpus.bin" "$out/corpus"; then
	echo "corpus: FAILED"
	exit 1
fi
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I '{}' sh "$here/run.sh" --one "$seconds" '{}'
