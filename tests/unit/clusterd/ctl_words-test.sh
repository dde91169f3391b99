#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# clusterctl and scsi3pr without a cluster: every command and option that --help names is in the man page and in the
# completion; a wrong command line is one line, exit 2, and JSON where that was asked for.
set -u
src=${top_srcdir:-../../..} build=${top_builddir:-.} bad=0
say() {
	echo "$*" >&2
	bad=1
}

# words PROGRAM: "noun verb" or "verb" a line, then the options
commands() {
	case $1 in
	clusterctl) "$build/clusterd/ctl/clusterctl" --help | sed -n 's/^  clusterctl \([a-z]*\) \{0,1\}\([a-z-]*\).*/\1 \2/p' | sed 's/ $//' ;;
	scsi3pr) "$build/scsi3pr/scsi3pr" --help | sed -n 's/^  \([a-z-]*\) .*/\1/p' ;;
	esac
}
for program in clusterctl scsi3pr; do
	[ "$program" = clusterctl ] && path=$build/clusterd/ctl/clusterctl || path=$build/scsi3pr/scsi3pr
	page=$(sed 's/\\-/-/g; s/\\f[RPIB]//g; s/"//g' "$src/docs/man/$program.8")
	completion=$src/conf/completion/$program
	n=$(commands "$program" | wc -l)
	[ "$n" -ge 10 ] || say "$program --help names $n commands"
	commands "$program" | while read -r first second; do
		[ "$first" = why ] && second=
		printf '%s\n' "$page" | grep -q "^\(\.B[IR]* \)\{0,1\}.*\b$first${second:+ $second}\b" ||
			echo "docs/man/$program.8: '$first $second' is missing"
		for word in $first $second; do
			grep -qw -e "$word" "$completion" || echo "$completion: '$word' is missing"
		done
	done > missing-words.$$
	for option in $("$path" --help | grep -o -e '--[a-z][a-z-]*' | sort -u); do
		printf '%s\n' "$page" | grep -q -e "$option\b" || echo "docs/man/$program.8: $option is missing"
		grep -q -e "$option\b" "$completion" || echo "$completion: $option is missing"
	done >> missing-words.$$
	[ -s missing-words.$$ ] && say "$(cat missing-words.$$)"
	rm -f missing-words.$$
done

# refused PROGRAM WORD ARGS...
refused() {
	path=$1 word=$2
	shift 2
	text=$("$path" "$@" 2>&1 > /dev/null)
	code=$?
	[ $code = 2 ] || say "$path $*: exit $code, not 2"
	[ "$(printf '%s\n' "$text" | wc -l)" = 1 ] || say "$path $*: more than one line: $text"
	case $text in *"$word"*) ;; *) say "$path $*: '$word' is not in: $text" ;; esac
	text=$("$path" --json "$@" 2> /dev/null)
	[ $? = 2 ] || say "$path --json $*: not exit 2"
	case $text in *'"ok": false'*) ;; *) say "$path --json $*: no JSON but: $text" ;; esac
}
ctl=$build/clusterd/ctl/clusterctl pr=$build/scsi3pr/scsi3pr
refused "$ctl" "no command"
refused "$ctl" "there is no such command: foo" foo
refused "$ctl" "which of create, set" vm
refused "$ctl" "there is no such command: vm shrink" vm shrink a
refused "$ctl" "did you mean status?" statsu
refused "$ctl" "did you mean volume?" volum list
refused "$ctl" "vm strat; did you mean start? there is create" vm strat a
refused "$ctl" "option --forse is not known; did you mean --force?" vm start a --forse
refused "$ctl" "option --memroy=1G is not known; did you mean --memory?" vm create a --memroy=1G
refused "$ctl" "--keep-disks does not belong" vm stop a --keep-disks
refused "$ctl" "an argument is missing" vm start
refused "$ctl" "too many" vm list a
refused "$ctl" "--drain does not belong" vm list --drain
refused "$ctl" "--kernel lacks" vm create a --kernel
refused "$ctl" "--kernel is needed" vm create a
refused "$ctl" "--lun is needed" volume add vol1
refused "$ctl" "--token is needed" cluster join 10.0.0.1
refused "$ctl" "not a name" vm start 'a b'
refused "$ctl" "not a name" why vm ''
refused "$ctl" "vm|volume|node" why dog a
refused "$ctl" "'0' is not allowed" vm list --timeout 0
refused "$ctl" "exclude each other" vm migrate a --live --quick
refused "$ctl" "whole MiB" vm create a --kernel /k --memory lots
refused "$ctl" "size=" vm create a --kernel /k --disk v/a.img,size=
refused "$ctl" "nothing to set" vm set a
refused "$ctl" "expected GROUP" vm set a --anti-affinity b,strict
refused "$ctl" "as 3/6h" vm set a --failover-limit 3/6x
refused "$ctl" "as 500ms or 10s" vm set a --max-pause long
refused "$ctl" "--drain lacks" vm set a --drain
refused "$ctl" "an event's id" events --since yesterday
refused "$pr" "no command"
refused "$pr" "no such command: foo" foo
refused "$pr" "no DEVICE" keys
refused "$pr" "one word too many: extra" keys /dev/null extra
refused "$pr" "no such option: --colour" keys /dev/null --colour
refused "$pr" "hexadecimal" register /dev/null --key zz
refused "$pr" "needs --key and --victim" preempt-abort /dev/null --key 1
"$ctl" --version | grep -q '^clusterctl [0-9]' || say "clusterctl --version"
"$pr" --version | grep -q '^scsi3pr [0-9]' || say "scsi3pr --version"
exit $bad
