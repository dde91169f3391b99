#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# holdfast-host on an /etc, a /sys and an lvmconfig of this test. What LVM, mdadm and udev make of it: t-hosts in the lab.
set -u
src=$(cd "${top_srcdir:-../../..}" && pwd) bad=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/etc/multipath/conf.d" "$dir/etc/mdadm" "$dir/lib/udev/rules.d" "$dir/sys/block/sdb/sdb1" \
	"$dir/sys/block/sdb/device" "$dir/sys/block/sdc/sdc1" "$dir/sys/block/sdb/holders/dm-0/dm"
cp "$src/conf/udev/11-holdfast.rules" "$dir/lib/udev/rules.d"
cp "$src/conf/multipath/holdfast.conf" "$dir/etc/multipath/conf.d"
# what lvmconfig would say: the last line of the file that counts, else a setting of the test's
cat > "$dir/bin/lvmconfig" << 'END'
#!/bin/sh
[ "$1 $2" = "--type full" ] && [ $# = 3 ] || exit 3
case "$3" in
devices/use_devicesfile) echo "use_devicesfile=$(cat "$DIR/use" 2> /dev/null || echo 0)" ;;
devices/devicesfile) echo 'devicesfile="system.devices"' ;;
devices/global_filter)
	v=$(sed -n 's|^devices/global_filter = ||p' "$DIR/etc/lvm/lvmlocal.conf" 2> /dev/null | tail -n 1)
	[ -n "$v" ] || v=$(cat "$DIR/filter" 2> /dev/null) || exit 5
	# a list of one is printed without its brackets
	echo "global_filter=$(echo "$v" | sed 's/^\[ /[/; s/ \]$/]/; s/, /,/g; s/^\[\("[^"]*"\)\]$/\1/')" ;;
esac
END
for p in mdadm multipath udevadm; do printf '#!/bin/sh\n' > "$dir/bin/$p"; done
chmod +x "$dir"/bin/*
echo PARTNAME=holdfast-meta > "$dir/sys/block/sdb/sdb1/uevent"
echo 'naa.60014050000000000000000000000001' > "$dir/sys/block/sdb/device/wwid"
echo PARTNAME=else > "$dir/sys/block/sdc/sdc1/uevent"
echo HF-data-x > "$dir/sys/block/sdb/holders/dm-0/dm/uuid"
export DIR="$dir" PATH="$dir/bin:/usr/bin:/bin" HOLDFAST_ETC_DIR="$dir/etc" HOLDFAST_SYS_DIR="$dir/sys" HOLDFAST_LIB_DIR="$dir/lib"
host() { said=$("$src/conf/holdfast-host" "$@" 2>&1); }
is() {  # is WHAT STATUS PATTERN: of the last command
	[ "$2" = "$status" ] && printf '%s\n' "$said" | grep -q -e "$3" && return
	echo "$1: status $status, said: $said"
	bad=1
}
not() {
	printf '%s\n' "$said" | grep -q -e "$2" || return
	echo "$1: said $said"
	bad=1
}

host check; status=$?
is "a bare host: LVM" 1 "LVM: devices/global_filter"
is "a bare host: md" 1 "md: mdadm looks"
is "a bare host: multipath" 1 "multipath: it may claim"
not "the rules are there" "udev:"
echo '["a|^/dev/sda|","r|.*|"]' > "$dir/filter"
host apply; status=$?
is "apply writes" 0 "wrote devices/global_filter"
grep -qxF 'devices/global_filter = [ "r|^/dev/mapper/hf-|", "a|^/dev/sda|","r|.*|" ]' "$dir/etc/lvm/lvmlocal.conf" || {
	echo "the filter that was there is not kept: $(cat "$dir/etc/lvm/lvmlocal.conf")"
	bad=1
}
grep -qx '	wwid "360014050000000000000000000000001"' "$dir/etc/multipath/conf.d/holdfast-luns.conf" || {
	echo "no blacklist of the LUN"
	bad=1
}
host check; status=$?
is "then all is well" 0 ""
echo '["a|.*|"]' > "$dir/filter"
rm "$dir/etc/lvm/lvmlocal.conf"
host apply; status=$?
is "apply where nobody set a filter" 0 "wrote devices/global_filter"
grep -qxF 'devices/global_filter = [ "r|^/dev/mapper/hf-|", "a|^/dev/mapper/|", "r|^/dev/dm-|" ]' "$dir/etc/lvm/lvmlocal.conf" || {
	echo "the default filter: $(cat "$dir/etc/lvm/lvmlocal.conf")"
	bad=1
}
host apply; status=$?
not "a second apply changes nothing" wrote

echo 'DEVICE partitions containers' > "$dir/etc/mdadm/mdadm.conf"
host check; status=$?
is "a line of somebody else's that names all devices" 1 "md: mdadm looks"
host apply; status=$?
is "apply says what to take out" 1 "take it out"
rm "$dir/etc/mdadm/mdadm.conf"
echo mpath-360014050000000000000000000000001 > "$dir/sys/block/sdb/holders/dm-0/dm/uuid"
host check; status=$?
is "multipath holds a LUN" 1 "it holds sdb"
echo HF-data-x > "$dir/sys/block/sdb/holders/dm-0/dm/uuid"
printf 'devices/global_filter = [ "a|.*|", "r|^/dev/mapper/hf-|" ]\n' > "$dir/etc/lvm/lvmlocal.conf"
host check; status=$?
is "a filter that accepts before it refuses" 1 "LVM:"
mkdir -p "$dir/etc/lvm/devices" && echo 1 > "$dir/use" && : > "$dir/etc/lvm/devices/system.devices"
host check; status=$?
is "a list of devices is as good" 0 ""
rm "$dir/lib/udev/rules.d/11-holdfast.rules"
host check; status=$?
is "no rules" 1 "udev: no 11-holdfast"
host perhaps; status=$?
is "a wrong word" 2 "holdfast-host check"
[ $bad = 0 ]
