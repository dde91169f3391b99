#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every checker proves that it can fail: each lint is fed a planted fault.
set -u
here=$(cd "${srcdir:-.}/tests/lint" && pwd) || exit 99
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 99
bad=0
must_fail() {
	what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "planted fault not caught: $what" >&2
		bad=1
	fi
}
L='/* SPDX-License-Identifier: GPL-2.0-or-later */'
mkdir -p common csv vmm
printf '%s\n#include "csv/layout.h"\n' "$L" >vmm/x.c
must_fail "leaf includes leaf" env srcdir="$tmp" sh "$here/includes.sh"
printf '%s\n#include <sqlite3.h>\n' "$L" >vmm/x.c
must_fail "third-party header in the wrong file" env srcdir="$tmp" sh "$here/includes.sh"
printf 'int x;\n' >vmm/x.c
must_fail "no licence line" env srcdir="$tmp" sh "$here/includes.sh"
printf '%s\nint x;\n' "$L" >vmm/x.c
env srcdir="$tmp" sh "$here/includes.sh" || {
	echo "a clean tree is refused" >&2
	bad=1
}
printf 'size_t f(void);\n' >common/h.h
must_fail "header that does not compile alone" env srcdir="$tmp" sh "$here/headers.sh"
printf '#include <stdio.h>\nint f(void);\nint f(void) { return puts("x"); }\n' >p.c
${CC:-cc} -c p.c -o p.o && ar cr p.a p.o
must_fail "I/O in a pure archive" env SANITIZERS=no PURE_ARCHIVES=p.a sh "$here/purity.sh"
printf 'int f(void);\nint f(void) { static int n; return ++n; }\n' >p.c
rm -f p.a
${CC:-cc} -c p.c -o p.o && ar cr p.a p.o
must_fail "hidden state in a pure archive" env SANITIZERS=no PURE_ARCHIVES=p.a sh "$here/purity.sh"
exit $bad
