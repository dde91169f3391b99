/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a node's machine: power, clusterd, vmm processes and their lease, csvd. */
#include "clusterd/core/mutant.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

bool sim_node_runs(uint8_t node)
{
	return sim.nodes[node].power && sim.nodes[node].stalled_until <= sim.now;
}

int sim_vm_of(const char *name)
{
	if (name[0] != 'v' || name[1] < '0' || name[1] >= (char)('0' + SIM_VMS) || name[2])
		return -1;
	return name[1] - '0';
}

/* LUNs of the model have the numbers of the volumes' names: d0, d1. */
uint16_t sim_volume_named(const char *name)
{
	return name[0] == 'd' && name[1] == '1' ? 1 : 0;
}

uint32_t sim_volume_of(uint32_t vm)
{
	return vm % sim.volume_count;
}

void sim_after(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];

	if (n->r->log.forgetful & ~n->forgetful)
		SIM_SAY("node %u: does not count nodes %x, whose disks have less than they acknowledged",
			node, n->r->log.forgetful);
	n->forgetful = n->r->log.forgetful;
	sim_oracle_commit(node);
}

/* ---- the lease ------------------------------------------------------------------------------ */

/*
 * vmms look at the page by themselves, whatever clusterd does, and take their time to stop: they
 * execute while the page held so long ago.
 */
bool sim_lease_holds(uint8_t node)
{
	const struct sim_node *n = &sim.nodes[node];
	struct cl_lease lease = n->lease_ended_at ? n->lease_was : n->lease;
	struct cl_moment then = sim_moment(node, sim.plan.stop_ms);

	if (!lease.until_ms)
		return false;
	lease.rtc_from_s = 0; /* what is so new did not hold then: no clock of this world is set */
	if (CORE_MUTANT(21))
		return true; /* planted: a lease once is a lease for ever */
	if (CORE_MUTANT(61))
		lease.rtc_until_s = 0; /* planted: only the clock that may stand still is asked */
	return cl_lease_left_ms(&lease, &then) &&
	       (!n->lease_ended_at || sim.now < n->lease_ended_at + sim.plan.stop_ms);
}

static void lease_page(uint8_t node, uint64_t until_ms, uint64_t proof_ms)
{
	struct sim_node *n = &sim.nodes[node];
	bool held = sim_lease_holds(node);
	uint32_t vm;

	if (!until_ms && !n->lease_ended_at) {
		n->lease_was = n->lease;
		n->lease_ended_at = sim.now;
	}
	if (cl_lease_give(&n->lease, &n->moments, until_ms, proof_ms) && until_ms)
		n->lease_ended_at = 0;
	if (held == sim_lease_holds(node))
		return;
	SIM_SAY("node %u: its VMs %s", node, held ? "must stop" : "may run");
	for (vm = 0; vm < SIM_VMS; vm++)
		sim_oracle_vms(vm);
	sim_lun_check();
}

/* ---- processes ------------------------------------------------------------------------------ */

void sim_process_set(uint8_t node, uint32_t vm, uint8_t state, uint64_t generation)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_vm *p = &n->vms[vm];

	SIM_SAY("node %u v%u: process %u -> %u generation %llu%s", node, vm, p->state, state,
		(unsigned long long)generation, sim_lease_holds(node) ? "" : " (frozen)");
	if (state != SIM_VM_NONE && p->state == SIM_VM_NONE) {
		/* What is born on a node that was fenced already can harm nothing. */
		if (sim_may_write(node, sim_volume_of(vm)))
			sim.held[vm][node] = true;
		sim.held_generation[vm][node] = generation;
	}
	if (state != SIM_VM_RUNNING && state != SIM_VM_SENDING)
		sim_writes_end(node, vm, !n->power);
	else if (p->generation != generation ||
		 (p->state != SIM_VM_RUNNING && p->state != SIM_VM_SENDING))
		sim_push(sim.now + sim_below(1000), SIM_EV_WRITE, node, vm, (uint32_t)generation);
	p->state = state;
	p->generation = generation;
	if (state != SIM_VM_NONE)
		sim.switched[vm][node] = state == SIM_VM_SWITCHED;
	sim_oracle_vms(vm);
}

/* Its end was seen by its own clusterd while that was a member: nothing is left to prove. */
void sim_process_end(uint8_t node, uint32_t vm, bool seen)
{
	sim_process_set(node, vm, SIM_VM_NONE, 0);
	if (seen)
		sim.held[vm][node] = false;
}

void sim_guest_stop(uint8_t node, uint32_t vm, uint32_t why)
{
	struct sim_node *n = &sim.nodes[node];
	char name[3] = { 'v', (char)('0' + vm), 0 };
	uint64_t generation = n->vms[vm].generation;

	if (!sim_node_runs(node) || !sim_lease_holds(node) ||
	    (n->vms[vm].state != SIM_VM_RUNNING && n->vms[vm].state != SIM_VM_SENDING))
		return;
	if (why == CORE_EXIT_FENCED && sim_may_write(node, sim_volume_of(vm)))
		return;
	sim_process_end(node, vm, n->daemon && n->r->safe);
	if (n->daemon) {
		replica_vm_exit(n->r, sim_now(node), name, generation, (enum core_exit)why, "");
		sim_after(node);
	}
}

/* Its process dies, whatever it was doing. */
void sim_vmm_die(uint8_t node, uint32_t vm)
{
	struct sim_node *n = &sim.nodes[node];
	char name[3] = { 'v', (char)('0' + vm), 0 };
	uint64_t generation = n->vms[vm].generation;

	if (!sim_node_runs(node) || !n->vms[vm].state)
		return;
	sim_process_end(node, vm, n->daemon && n->r->safe);
	if (n->daemon) {
		replica_vm_exit(n->r, sim_now(node), name, generation, CORE_EXIT_ERROR, "");
		sim_after(node);
	}
}

void sim_csvd_die(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t volume;

	SIM_SAY("node %u: csvd dies", node);
	n->csvd++;
	for (volume = 0; volume < SIM_VOLUMES; volume++) {
		n->attached[volume] = n->mounted[volume] = n->layouts[volume] = false;
		sim.mount_held[volume][node] = false;
	}
	if (!n->daemon)
		return; /* the next clusterd starts another: nobody has seen it die */
	replica_csvd_lost(n->r, sim_now(node));
	sim_after(node);
}

/* ---- clusterd's life ------------------------------------------------------------------------ */

void sim_daemon_start(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];

	if (!n->power || n->daemon)
		return;
	n->instance++;
	n->daemon = true;
	n->daemon_stalled = 0;
	memset(&n->moments, 0, sizeof(n->moments));
	replica_init(n->r, node, n->boot_id, sim_random(), sim_sink, n);
	SIM_SAY("node %u: clusterd starts", node);
	if (node == 1 && !sim.bootstrapped) {
		struct core_command *init = sim_alloc(sizeof(*init));

		memset(init, 0, sizeof(*init));
		init->kind = CORE_CMD_INIT;
		init->node = 1;
		core_str_copy(init->name, sizeof(init->name), "sim");
		core_str_copy(init->target, sizeof(init->target), "n1");
		sim.bootstrapped = true;
		if (replica_bootstrap(n->r, init) || replica_start(n->r, sim_now(node), 0))
			sim_fail("bootstrap");
	} else if (sim_disk_restore(node)) {
		if (!n->damaged)
			sim_fail("node %u: its store is damaged", node);
		SIM_SAY("node %u: its store is damaged: refused; somebody gives it an empty one", node);
		n->daemon = n->damaged = false;
		sim_disk_wipe(node);
		sim_push(sim.now + 1000 + sim_below(5000), SIM_EV_DAEMON, node, 0, 0);
		return;
	} else if (n->damaged) {
		sim_fail("I3: node %u starts on a damaged store", node);
	}
	sim_cpg_join(node);
	sim_push(sim.now + 50 + sim_below(100), SIM_EV_TIMER, node, 0, 0);
}

/* SIGKILL: workers die with it; what they were doing has happened or not. */
void sim_daemon_kill(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t i;

	if (!n->daemon)
		return;
	for (i = 0; i < SIM_RUNS; i++) {
		if (!n->runs[i].used)
			continue;
		if (n->power && n->runs[i].stage != 4 && sim_chance(50)) {
			n->runs[i].fate = SIM_FATE_LOST_DONE;
			n->runs[i].stage = 2;
			sim_run_step(node, i);
		}
		n->runs[i].used = false;
	}
	n->daemon = false;
	n->instance++;
	if (!sim.silent_since[node])
		sim.silent_since[node] = sim.now;
	sim_disk_crash(node);
	sim_cpg_leave(node);
	sim.excused_until[node] = UINT64_MAX; /* nobody there kills its VMs in time; the lease holds all the same */
	SIM_SAY("node %u: clusterd dies", node);
}

void sim_power_off(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t vm, v;

	if (!n->power)
		return;
	SIM_SAY("node %u: power cut", node);
	sim_oracle_blame(node);
	n->power = false;
	sim_daemon_kill(node);
	n->corosync = false;
	n->ring = n->next_ring = 0;
	n->stalled_until = n->frozen_from = n->frozen_ms = 0;
	for (vm = 0; vm < SIM_VMS; vm++)
		sim_process_end(node, vm, false); /* held stays: gone, and nobody can know */
	for (v = 0; v < SIM_VOLUMES; v++) {
		n->attached[v] = n->mounted[v] = n->layouts[v] = false;
		n->mount_term[v] = 0;
	}
	memset(n->killed_up_to, 0, sizeof(n->killed_up_to));
	n->frozen = n->killed = false;
	memset(&n->lease, 0, sizeof(n->lease));
	n->lease_ended_at = 0;
	sim_net_disturb();
}

void sim_boot(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint64_t id = sim_random();

	if (n->power)
		return;
	SIM_SAY("node %u: boots", node);
	sim_oracle_blame(node); /* also an incarnation that the log gave it while it was off (seed 259) */
	n->power = n->corosync = true;
	n->boots++;
	n->csvd++;
	n->booted_at = sim.now;
	if (n->disk_change == PLAN_OLD_DISK ? sim_disk_old(node) :
	    n->disk_change && sim_disk_damage(node, n->disk_byte))
		SIM_SAY("node %u: its store is %s", node,
			n->disk_change == PLAN_OLD_DISK ? "an old one" : "damaged");
	n->disk_change = 0;
	memset(n->nexus_new, 0, sizeof(n->nexus_new));
	memset(n->hang_until, 0, sizeof(n->hang_until));
	memset(n->boot_id, 0, sizeof(n->boot_id));
	memcpy(n->boot_id, &id, sizeof(id));
	n->boot_id[15] = node;
	sim.excused_until[node] = 0;
	sim_oracle_proof(node); /* its own reboot */
	sim_net_disturb();
	sim_push(sim.now + 500 + sim_below(4000), SIM_EV_DAEMON, node, 0, 0);
}

/* ---- local effects -------------------------------------------------------------------------- */

void sim_local(uint8_t node, uint32_t kind)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t vm;

	switch (kind) {
	case REPLICA_FREEZE:
		n->frozen = true;
		break;
	case REPLICA_THAW:
		n->frozen = n->killed = false;
		break;
	case REPLICA_KILL:
		n->killed = true;
		for (vm = 0; vm < SIM_RUNS; vm++)
			if (n->runs[vm].used && n->runs[vm].fx.vm != CORE_NONE &&
			    n->runs[vm].stage == 0)
				n->runs[vm].fate = SIM_FATE_LOST_NOT;
		for (vm = 0; vm < SIM_VMS; vm++) {
			if (n->vms[vm].generation > n->killed_up_to[vm])
				n->killed_up_to[vm] = n->vms[vm].generation;
			sim_process_end(node, vm, false);
		}
		break;
	}
	SIM_SAY("node %u: %s", node,
		kind == REPLICA_FREEZE ? "starts nothing more" :
		kind == REPLICA_THAW   ? "a member in good standing" :
					 "kills its VMs");
}

void sim_list(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	struct core_seen seen[SIM_VMS];
	uint16_t count = 0;
	uint32_t vm;

	memset(seen, 0, sizeof(seen));
	for (vm = 0; vm < SIM_VMS; vm++) {
		if (!n->vms[vm].state) {
			sim.held[vm][node] = false; /* its own word, to a majority */
			continue;
		}
		seen[count].name[0] = 'v';
		seen[count].name[1] = (char)('0' + vm);
		seen[count].generation = n->vms[vm].generation;
		seen[count].seen = n->vms[vm].state != SIM_VM_RUNNING ? CORE_SEEN_PAUSED :
									CORE_SEEN_RUNNING;
		count++;
	}
	replica_hello(n->r, sim_now(node), seen, count, 4096, 4, n->csvd);
	sim_after(node);
}

/* ---- what leaves a replica ------------------------------------------------------------------ */

void sim_sink(void *arg, const struct replica_out *out)
{
	struct sim_node *n = arg;
	uint8_t node = (uint8_t)(n - sim.nodes);

	switch (out->kind) {
	case REPLICA_MULTICAST:
		sim_cpg_send(node, out->data, out->len_bytes);
		break;
	case REPLICA_STORE:
		sim_disk_op(node, out->log);
		break;
	case REPLICA_EFFECT:
		sim_maintain_effect(node, out->effect);
		sim_effect_begin(node, out->effect);
		break;
	case REPLICA_EFFECT_VOID:
		for (unsigned i = 0; i < SIM_RUNS; i++)
			if (n->runs[i].used && n->runs[i].fx.id == out->effect->id &&
			    n->runs[i].stage == 0)
				n->runs[i].used = false;
		break;
	case REPLICA_LOCAL:
		if (out->local->kind == REPLICA_LIST)
			sim_push((n->local_at > sim.now ? n->local_at : sim.now) + sim_below(50),
				 SIM_EV_LIST, node, 0, 0); /* behind what was asked before */
		else if (out->local->kind == REPLICA_LEASE)
			lease_page(node, out->local->until_ms, out->local->proof_ms);
		else if (out->local->kind <= REPLICA_KILL) {
			uint64_t at = sim.now +
				      sim_below(out->local->kind == REPLICA_KILL ? 1500 : 100);

			/* In the order in which they were asked. */
			n->local_at = at > n->local_at ? at : n->local_at + 1;
			sim_push(n->local_at, SIM_EV_LOCAL, node, out->local->kind, 0);
		}
		break;
	case REPLICA_ANSWER:
		sim_answer(node, out->cookie, out->answer);
		break;
	case REPLICA_TRACE:
		sim_maintain_trace(node, out->trace);
		sim_oracle_trace(node, out->trace);
		/* The job's word to its operator: created. */
		if (out->trace->object == CORE_OBJECT_VM && out->trace->cause.reason == CORE_WHY_CREATED)
			sim.vm_acked[sim_vm_of(out->trace->name)] = true;
		break;
	default:
		break;
	}
}
