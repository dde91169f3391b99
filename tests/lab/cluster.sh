# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For lab tests of a cluster, after lib.sh: the programs of this build on the nodes, and clusterctl there.

ctl() {  # ctl NODE ARGS...
	local node=$1
	shift
	on "$node" clusterctl "$@"
}
cluster_address() { on "$1" hostname -I | tr ' ' '\n' | grep '^10\.77\.1\.'; }
node_state() {  # as seen from $1, of node $2
	ctl "$1" node list --json 2> /dev/null | jq -r --arg n "$2" '.nodes[] | select(.name == $n) | .state'
}
is_state() { [ "$(node_state "$1" "$2")" = "$3" ]; }
owner_of() { ctl "${2:-n1}" volume list --json | jq -r --arg n "$1" '.volumes[] | select(.name == $n) | .owner'; }
vm_at() {  # "running n2", as seen from $2
	ctl "${2:-n1}" vm list --json | jq -r --arg n "$1" '.vms[] | select(.name == $n) | "\(.state) \(.node)"'
}
vm_is() { [ "$(vm_at "$1" "${3:-n1}")" = "$2" ]; }

deploy_build() {  # deploy_build NODE...: they run what was built, also after a power cut
	local stage node was=()
	for node in "$@"; do
		was+=("$(on "$node" sh -c 'cat /run/holdfast/clusterd.pid 2>/dev/null')")
	done
	stage=$(mktemp -d)
	make -s -C "$BUILD_DIR" install DESTDIR="$stage" > "$stage.log" 2>&1 || fail "make install: $(tail -n 1 "$stage.log")"
	lab deploy "$stage" --restart || fail "deploy"
	rm -rf "$stage" "$stage.log"
	for node in "$@"; do
		wait_for 120 "clusterd runs on $node" on "$node" sh -c "[ \"\$(cat /run/holdfast/clusterd.pid)\" != '${was[0]}' ] &&
			clusterctl status 2>&1 | grep -q 'not in a cluster'"
		was=("${was[@]:1}")
	done
}

cluster_make() {  # cluster_make NODE...: create on the first, the others join; all are up
	local first=$1 node other token
	ctl "$first" cluster create lab --address "$(cluster_address "$first")" --token-ms 5000 || fail "create"
	for node in "${@:2}"; do
		token=$(ctl "$first" cluster token) || fail "token"
		ctl "$node" cluster join "$(cluster_address "$first")" --token "$token" --address "$(cluster_address "$node")" ||
			fail "$node joins"
	done
	for node in "$@"; do
		for other in "$@"; do
			wait_for 240 "$node sees $other up" is_state "$node" "$other" up
		done
	done
}
