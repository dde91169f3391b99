#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab: nodes=3 luns=1 fresh seconds=1800
# What operators decide, on three nodes: a configuration file, placement, plans that are what then happens (drain, power cut),
# failback, a VM that fails too often, a cluster that is disarmed while a node dies, quarantine.
. "$(dirname "$0")/lib.sh"
# shellcheck source=cluster.sh
. "$LAB_DIR/cluster.sh"
STAMPER=$BUILD_DIR/tests/lab/guest/stamper
[ -x "$STAMPER" ] || skip "$STAMPER is not built"
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
H=/var/lib/hftest

deploy_build n1 n2 n3
"$LAB_DIR/guest/mkguest" --root "${LAB_CACHE:-$BUILD_DIR/lab}/root" --stamper "$STAMPER" --out "$W" || fail mkguest
for node in n1 n2 n3; do
	on $node mkdir -p $H
	for file in vmlinuz initrd; do lab push $node "$W/$file" $H/$file || fail push; done
done
cluster_make n1 n2 n3
ctl n1 volume add vol1 --lun "$(ctl n1 lun list --json | jq -r '.luns[0].id')" || fail "volume add"

vm() { ctl n1 vm list --json | jq -r --arg n "$1" --arg k "$2" '.vms[] | select(.name == $n) | .[$k]'; }
on_nodes() { ctl n1 vm list --json | jq -r '[.vms[] | select(.run) | "\(.name)=\(.node)"] | sort | join(" ")'; }
runs() { [ "$(vm "$1" state)" = running ]; }
at() { vm_is "$1" "running $2"; }
refused() {  # refused WORD ARGS...: exit 1, WORD is in its line
	local word=$1 text
	shift
	text=$(ctl n1 "$@" 2>&1 > /dev/null)
	is 1 $? "clusterctl $* is refused ($text)"
	case $text in *"$word"*) ;; *) fail "'$word' is not in: $text" ;; esac
}
planned() { jq -r '[.items[] | select(.object == "vm") | "\(.name)=\(.to)"] | sort | join(" ")' "$1"; }
# came FILE NODE: of the VMs that the plan in FILE names, where they are now, as NODE knows it
came() { jq -r --argjson now "$(ctl "$2" vm list --json)" '[.items[] | select(.object == "vm") | .name as $n |
	"\($n)=\($now.vms[] | select(.name == $n) | .node)"] | sort | join(" ")' "$1"; }

say "a configuration file"
ctl n1 config export > "$W/empty.json" || fail "config export"
jq --arg h $H '.vms = [
	{name: "a", disks: [{volume: "vol1", path: "a.img", size: 1048576}],
	 policy: {priority: "high", restart_wait_s: 5, preferred: ["n1"], failback: "immediate"}},
	{name: "b", policy: {priority: "low", anti_affinity: "pair", anti_affinity_hard: true}},
	{name: "c", policy: {anti_affinity: "pair", anti_affinity_hard: true}},
	{name: "d", policy: {priority: "none", possible: ["n3"]}}
	| . + {memory_mib: 128, cpus: 1, kernel: "\($h)/vmlinuz", initrd: "\($h)/initrd", append: "console=ttyS0 quiet hf.idle=1"}]' \
	"$W/empty.json" > "$W/want.json" || fail jq
sed 's/"cpus": 1,/"cpus": 99,/' "$W/want.json" > "$W/bad.json"
line=$(grep -n '"cpus": 99' "$W/bad.json" | head -n 1 | cut -d: -f1)
for file in want bad; do lab push n1 "$W/$file.json" /root/$file.json || fail push; done
refused "/root/bad.json:$line:" config import /root/bad.json
is "" "$(on_nodes)" "nothing was imported in part"
ctl n1 config import /root/want.json --plan > "$W/plan.txt" || fail "config import --plan: $(cat "$W/plan.txt")"
is 0 "$(ctl n1 vm list --json | jq '.vms | length')" "a plan makes nothing"
ctl n1 config import /root/want.json || fail "config import"
is "a b c d" "$(ctl n1 vm list --json | jq -r '[.vms[].name] | sort | join(" ")')" "all VMs of the file are there"
ctl n1 config export > "$W/full.json" && lab push n2 "$W/full.json" /root/full.json || fail "config export"
ctl n2 config import /root/full.json || fail "the same file again"
ctl n2 config export > "$W/again.json"
cmp -s "$W/full.json" "$W/again.json" || fail "importing what was exported changed something"

say "placement"
for name in a b c d; do ctl n1 vm start $name || fail "vm start $name"; done
for name in a b c d; do wait_for 240 "$name runs" runs $name; done
is n1 "$(vm a node)" "a is on its preferred node"
is n3 "$(vm d node)" "d is on its only possible node"
[ "$(vm b node)" != "$(vm c node)" ] || fail "b and c share $(vm b node)"
refused "anti-affinity" vm migrate b --to "$(vm c node)"
refused "possible owners" vm migrate d --to n1

say "a drain that cannot be done says so before it begins"
ctl n1 node pause n3 --drain --plan --json > "$W/plan.json"
is 1 $? "a plan that would not be finished"
case $(jq -r '.items[] | select(.name == "d") | .blocker' "$W/plan.json") in
"" | null) fail "nothing keeps d: $(cat "$W/plan.json")" ;;
*) ;;
esac
is "up up up" "$(ctl n1 node list --json | jq -r '[.nodes[].state] | join(" ")')" "nothing was done"

say "a drain is what its plan said; failback"
ctl n1 node pause n1 --drain --plan --json > "$W/plan.json" || fail "plan of a drain: $(cat "$W/plan.json")"
ctl n1 node pause n1 --drain --timeout 900 || fail "drain"
is "$(planned "$W/plan.json")" "$(came "$W/plan.json" n1)" "the drain of n1 did what was planned"
is paused "$(node_state n2 n1)" "n1 is empty"
case $(ctl n2 why node n1) in *"an operator paused it"*) ;; *) fail "why node n1: $(ctl n2 why node n1)" ;; esac
ctl n1 node resume n1 --failback --timeout 900 || fail "resume"
wait_for 600 "a is home" at a n1

say "a power cut is what its plan said"
ctl n2 node fail n1 --plan --json > "$W/plan.json" || fail "plan of a failure: $(cat "$W/plan.json")"
lab power-off n1
gone() { case $(node_state n2 n1) in down | fenced) ;; *) return 1 ;; esac; }
wait_for 300 "n1 is fenced" gone
on_n2() { vm_at "$1" n2; }
for name in a b c; do wait_for 300 "$name runs" eval "case \$(on_n2 $name) in 'running n1') false ;; running*) ;; *) false ;; esac"; done
is "$(planned "$W/plan.json")" "$(came "$W/plan.json" n2)" "the loss of n1 did what was planned"
lab power-on n1 || fail "power-on"
wait_for 300 "n1 is up again" is_state n2 n1 up
wait_for 600 "a came home by itself" at a n1

say "a VM that fails too often stays down, and says why"
ctl n1 vm set a --failover-limit 1/1h --restart-wait 0s || fail "vm set"
for try in 1 2; do
	node=$(vm a node)
	pid=$(on "$node" cat /run/holdfast/vm/a/vmm.pid) || fail "a has no process on $node"
	generation=$(vm a generation)
	on "$node" kill -KILL "$pid" || fail kill
	[ $try = 2 ] || wait_for 240 "it is started again" eval "runs a && [ \$(vm a generation) != $generation ]"
done
wait_for 120 "it is given up" eval '[ "$(vm a state)" = failed ]'
case $(ctl n2 why vm a) in *"failover limit"*) ;; *) fail "why vm a: $(ctl n2 why vm a)" ;; esac
ctl n1 vm start a || fail "vm start a"
wait_for 240 "an operator starts it again" runs a

say "a disarmed cluster leaves a dead node alone; armed, it takes over"
ctl n1 cluster set --quarantine-losses 1 || fail "cluster set"
refused "not safe" cluster set --takeover-ms 3000
ctl n1 cluster disarm || fail "disarm"
before=$(on_nodes)
lab power-off n3
wait_for 300 "n3 is isolated" is_state n1 n3 isolated
hold=$(ctl n1 cluster set --json | jq -r '.settings["takeover-ms"]')
sleep $((hold / 1000 + 5)) # a thing that must not happen has no sign: as long as a takeover would take, and more
is isolated "$(node_state n1 n3)" "it is not fenced"
is "$before" "$(on_nodes)" "nothing was started elsewhere"
case $(ctl n1 status) in *disarmed*) ;; *) fail "status does not say that the cluster is disarmed" ;; esac
ctl n1 cluster arm || fail "arm"
wait_for 300 "n3 is fenced" eval 'case $(node_state n1 n3) in fenced | down) ;; *) false ;; esac'
wait_for 300 "d stays down: its priority is none" eval '[ "$(vm d state)" = stopped ]'
case $(ctl n1 why vm d) in *n3*) ;; *) fail "why vm d: $(ctl n1 why vm d)" ;; esac
for name in a b c; do wait_for 300 "$name runs" eval "runs $name && [ \$(vm $name node) != n3 ]"; done

say "quarantine"
lab power-on n3 || fail "power-on"
wait_for 300 "n3 is in quarantine" is_state n1 n3 quarantined
case $(ctl n1 why node n3) in *quarantine*) ;; *) fail "why node n3: $(ctl n1 why node n3)" ;; esac
ctl n1 node resume n3 || fail "node resume"
wait_for 300 "n3 is up" is_state n1 n3 up
ctl n1 timing > "$W/timing.txt" || fail "timing: $(cat "$W/timing.txt")"
say "ok"
