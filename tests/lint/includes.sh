#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may include whom (docs/architecture.md, "Purity and includes").
#
#  1. leaf modules never include each other
#  2. each third-party header is included only by the files named here
#  3. nothing outside tests/ includes tests/
#  4. every source file carries its licence line
set -u
cd "${srcdir:-.}" || exit 99
bad=0
say() {
	echo "$1" >&2
	bad=1
}

sources() {
	find common quorum scsi3pr fencing csv vmm clusterd resources bench tests \
		-name '*.[ch]' -type f 2>/dev/null | sort
}

leaf_of() {
	case $1 in
	quorum/* | scsi3pr/* | fencing/* | csv/* | vmm/*) echo "${1%%/*}" ;;
	*) echo "" ;;
	esac
}

# header pattern = files that may include it (shell patterns), the product only
third_party() {
	case $1 in
	corosync/cpg.h) echo 'clusterd/*_cpg.c' ;;
	corosync/votequorum.h | corosync/quorum.h) echo 'clusterd/*_votequorum.c' ;;
	corosync/cmap.h | corosync/cfg.h) echo 'clusterd/*_cmap.c clusterd/*_cfg.c clusterd/*_corosync.c' ;;
	sqlite3.h) echo 'clusterd/*_sqlite.c' ;;
	gnutls/*) echo '*_gnutls.c' ;;
	iscsi/*) echo 'scsi3pr/*_iscsi.c' ;;
	scsi/sg.h) echo '*_sgio.c csv/*_linux.c' ;;
	linux/dm-ioctl.h) echo 'csv/*_dm.c' ;;
	fuse_lowlevel.h | fuse3/*) echo 'csv/*_fuse.c csv/*_fuse.h csv/*_fuse_*.c' ;;
	liburing.h) echo '*_uring.c' ;;
	seccomp.h) echo 'vmm/*_seccomp.c' ;;
	blkid/* | blkid.h) echo 'csv/*_linux.c csv/*_blkid.c' ;;
	linux/kvm.h) echo 'vmm/*_kvm.c vmm/*_kvm.h vmm/vmm.h vmm/sandbox_seccomp.c' ;;
	qb/*) echo 'clusterd/daemon.h clusterd/*_qb.c clusterd/*_qb.h clusterd/main.c clusterd/ctl/*_qb.c' ;;
	*) echo '' ;;
	esac
}

matches() { # FILE PATTERN...
	f=$1
	shift
	for p in "$@"; do
		# shellcheck disable=SC2254 # patterns are meant
		case $f in $p) return 0 ;; esac
	done
	return 1
}

set -f
for f in $(sources); do
	head -n 1 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' ||
		say "$f:1: no SPDX licence line; allowed: GPL-2.0-or-later"
	case $f in tests/* | bench/*) continue ;; esac
	me=$(leaf_of "$f")
	for inc in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]\([^>"]*\)[>"].*/\1/p' "$f"); do
		other=$(leaf_of "$inc")
		if [ -n "$me" ] && [ -n "$other" ] && [ "$me" != "$other" ]; then
			# the vmm is linked with libcsv, its one door to volumes
			[ "$me/$inc" = vmm/csv/libcsv.h ] && matches "$f" 'vmm/*_libcsv.c' && continue
			say "$f: includes $inc; leaf modules never include each other"
		fi
		case $inc in tests/*) say "$f: includes $inc; the product never includes tests" ;; esac
		case $me/$inc in ?*/clusterd/*) say "$f: includes $inc; a leaf never includes clusterd" ;; esac
		allowed=$(third_party "$inc")
		# shellcheck disable=SC2086 # a list of patterns
		if [ -n "$allowed" ] && ! matches "$f" $allowed; then
			say "$f: includes <$inc>; allowed in: $allowed"
		fi
	done
done
exit $bad
