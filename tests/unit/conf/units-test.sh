#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The units as `make install` puts them: systemd-analyze has nothing to say of them, and they hold what a node lives by.
set -u
src=${top_srcdir:-../../..} build=${top_builddir:-.} bad=0
say() {
	echo "$*" >&2
	bad=1
}
if ! command -v systemd-analyze > /dev/null || [ ! -e /usr/lib/systemd/system/shutdown.target ]; then
	echo "SKIP: systemd-analyze (package systemd) is not installed"
	exit 77
fi
root=$(mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
make -s -C "$build" install-systemdsystemunitDATA install-dist_corosyncunitDATA install-dist_pkglibexecSCRIPTS \
	install-dist_sbinSCRIPTS DESTDIR="$root" prefix=/usr libexecdir=/usr/libexec > "$root/log" 2>&1 ||
	say "make install of the units: $(tail -n 1 "$root/log")"
units=$root/usr/lib/systemd/system
[ -f "$units/corosync.service.d/holdfast.conf" ] || say "no drop-in for corosync.service"
cp /usr/lib/systemd/system/*.target "$units"
mkdir -p "$root/bin" "$root/etc" "$root/usr/sbin"
# what the units start: a program of that name is enough
sed -n 's|^Exec[A-Za-z]*=-\{0,1\}\(/[^ ]*\).*|\1|p' "$units"/clusterd*.service | sort -u > "$root/programs"
[ "$(wc -l < "$root/programs")" = 3 ] || say "the units start $(tr '\n' ' ' < "$root/programs")"
while read -r program; do
	mkdir -p "$root/${program%/*}"
	[ -e "$root$program" ] || { echo '#!/bin/sh' > "$root$program" && chmod 755 "$root$program"; }
done < "$root/programs"
printf '[Service]\nExecStart=/usr/sbin/holdfast-host\n' > "$units/corosync.service"

verify() {  # anything that is said of a unit of ours
	systemd-analyze verify --man=no --root="$root" "$units/clusterd.service" "$units/clusterd-drain.service" \
		"$units/corosync.service" 2>&1 | grep -E 'clusterd|corosync|holdfast'
}
said=$(verify) && say "$said"
# it can fail
cp "$units/clusterd.service" "$root/kept"
sed -i 's/^RestartSec=.*/RestartSecs=2/' "$units/clusterd.service"
verify > /dev/null || say "systemd-analyze does not see a planted mistake"
cp "$root/kept" "$units/clusterd.service"

has() {  # has UNIT LINE WHY
	grep -qxF "$2" "$units/$1" || say "$1: no '$2': $3"
}
has clusterd.service StartLimitIntervalSec=0 "five quick ends and the node would stay down, then be fenced"
has clusterd.service RestartSec=2 "the same"
has clusterd.service Restart=always "the same"
has clusterd.service KillMode=process "a restart of clusterd would end csvd and every VM"
has clusterd.service OOMScoreAdjust=-900 "the daemons are killed for memory before a VM"
has corosync.service.d/holdfast.conf OOMScoreAdjust=-900 "corosync is killed for memory before a VM"
grep -q '^LimitNOFILE=[0-9]\{5\}' "$units/clusterd.service" || say "clusterd.service: fewer than 10000 descriptors"
grep -q '^TimeoutStopSec=[1-9]' "$units/clusterd.service" || say "clusterd.service: a stop without a bound"
grep -q '^TimeoutStopSec=[1-9]' "$units/clusterd-drain.service" || say "clusterd-drain.service: a stop without a bound"
for other in clusterd corosync iscsid open-iscsi multipathd; do
	grep -q "^After=.*\b$other.service" "$units/clusterd-drain.service" ||
		say "clusterd-drain.service: not After=$other.service, so that would be stopped before the drain"
done
grep -q '^After=.*network.target' "$units/clusterd-drain.service" || say "clusterd-drain.service: not After=network.target"
# the bound of the script lies within systemd's
most=$(sed -n 's/.*DRAIN_SECONDS:-}" 300 \([0-9]*\)).*/\1/p' "$src/conf/drain-node")
limit=$(sed -n 's/^TimeoutStopSec=//p' "$units/clusterd-drain.service")
[ "${most:-9999}" -lt "$limit" ] || say "drain-node may take $most s, its unit $limit s"
[ $bad = 0 ]
