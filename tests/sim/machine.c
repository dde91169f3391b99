/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of a node's machine: vmm processes, csvd, its registrations; and the executors of
 * effects, which are slow, fail, and lose their replies as the seed says.  They are
 * idempotent and serialise by VM, as the daemon's workers are.
 */
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

static uint32_t volume_of_vm(uint32_t vm)
{
	return vm % sim.volume_count;
}

void sim_after(uint8_t node)
{
	sim_oracle_commit(node);
}

/* ---- the lease ------------------------------------------------------------------------------ */

/* vmms look at the page by themselves, whatever clusterd does, and take their time to stop. */
bool sim_lease_holds(uint8_t node)
{
	if (CORE_MUTANT(21))
		return sim.nodes[node].run_until != 0; /* planted: a lease once is a lease for ever */
	return sim.now < sim.nodes[node].run_until;
}

static void refused_check(void);

static void lease_page(uint8_t node, uint64_t until_ms)
{
	struct sim_node *n = &sim.nodes[node];
	bool held = sim_lease_holds(node);
	uint32_t vm;

	if (until_ms > sim.now)
		n->run_until = until_ms + sim.lease_stop_ms;
	else if (n->run_until > sim.now + sim.lease_stop_ms)
		n->run_until = sim.now + sim.lease_stop_ms;
	if (held == sim_lease_holds(node))
		return;
	SIM_SAY("node %u: its VMs may run until %llu", node, (unsigned long long)n->run_until);
	for (vm = 0; vm < SIM_VMS; vm++)
		sim_oracle_vms(vm);
	refused_check();
}

/* ---- processes ------------------------------------------------------------------------------ */

static void process_set(uint8_t node, uint32_t vm, uint8_t state, uint64_t generation)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_vm *p = &n->vms[vm];

	SIM_SAY("node %u v%u: process %u -> %u generation %llu%s", node, vm, p->state, state,
		(unsigned long long)generation, sim_lease_holds(node) ? "" : " (frozen)");
	if (state != SIM_VM_NONE && p->state == SIM_VM_NONE) {
		/* What is born on a node that was fenced already can harm nothing. */
		if (model_lun_may_write(&sim.luns[volume_of_vm(vm)], node))
			sim.held[vm][node] = true;
	}
	p->state = state;
	p->generation = generation;
	if (state != SIM_VM_NONE)
		sim.switched[vm][node] = state == SIM_VM_SWITCHED;
	sim_oracle_vms(vm);
}

/* Its end was seen by its own clusterd while that was a member: nothing is left to prove. */
static void process_end(uint8_t node, uint32_t vm, bool seen)
{
	process_set(node, vm, SIM_VM_NONE, 0);
	if (seen)
		sim.held[vm][node] = false;
}

/* A running VM notices that its LUN refuses it. */
static void refused_check(void)
{
	uint8_t node;
	uint32_t vm;

	for (node = 1; node <= sim.count; node++)
		for (vm = 0; vm < SIM_VMS; vm++)
			if (sim.nodes[node].vms[vm].state == SIM_VM_RUNNING &&
			    !model_lun_may_write(&sim.luns[volume_of_vm(vm)], node))
				sim_push(sim.now + 100 + sim_below(2000), SIM_EV_GUEST, node, vm,
					 CORE_EXIT_FENCED);
}

void sim_guest_stop(uint8_t node, uint32_t vm, uint32_t why)
{
	struct sim_node *n = &sim.nodes[node];
	char name[3] = { 'v', (char)('0' + vm), 0 };
	uint64_t generation = n->vms[vm].generation;

	if (!sim_node_runs(node) || !sim_lease_holds(node) ||
	    (n->vms[vm].state != SIM_VM_RUNNING && n->vms[vm].state != SIM_VM_SENDING))
		return;
	if (why == CORE_EXIT_FENCED && model_lun_may_write(&sim.luns[volume_of_vm(vm)], node))
		return;
	process_end(node, vm, n->daemon && n->r->safe);
	if (n->daemon) {
		replica_vm_exit(n->r, sim.now, name, generation, (enum core_exit)why);
		sim_after(node);
	}
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
	replica_init(n->r, node, n->boot_id, sim_random(), sim_sink, n);
	SIM_SAY("node %u: clusterd starts", node);
	if (node == 1 && n->store.promise == 0) {
		struct core_command *init = sim_alloc(sizeof(*init));

		memset(init, 0, sizeof(*init));
		init->kind = CORE_CMD_INIT;
		init->node = 1;
		core_str_copy(init->name, sizeof(init->name), "sim");
		core_str_copy(init->target, sizeof(init->target), "n1");
		if (replica_bootstrap(n->r, init) || replica_start(n->r, sim.now, 0))
			sim_fail("bootstrap");
	} else if (sim_disk_restore(node)) {
		sim_fail("node %u: its store is damaged", node);
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
		if (n->power && sim_chance(50)) {
			n->runs[i].fate = SIM_FATE_LOST_DONE;
			n->runs[i].stage = 2;
			sim_run_step(node, i);
		}
		n->runs[i].used = false;
	}
	n->daemon = false;
	n->instance++;
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
	n->power = false;
	sim_daemon_kill(node);
	n->corosync = false;
	n->ring = n->next_ring = 0;
	n->stalled_until = 0;
	for (vm = 0; vm < SIM_VMS; vm++)
		process_end(node, vm, false); /* held stays: gone, and nobody can know */
	for (v = 0; v < SIM_VOLUMES; v++) {
		n->attached[v] = n->mounted[v] = n->layouts[v] = false;
		n->mount_term[v] = 0;
	}
	memset(n->killed_up_to, 0, sizeof(n->killed_up_to));
	n->frozen = n->killed = false;
	n->run_until = 0;
	sim_cpg_disturb();
}

void sim_boot(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint64_t id = sim_random();

	if (n->power)
		return;
	SIM_SAY("node %u: boots", node);
	n->power = n->corosync = true;
	n->boots++;
	memset(n->boot_id, 0, sizeof(n->boot_id));
	memcpy(n->boot_id, &id, sizeof(id));
	n->boot_id[15] = node;
	sim.excused_until[node] = 0;
	sim_oracle_proof(node); /* its own reboot */
	sim_cpg_disturb();
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
			process_end(node, vm, false);
		}
		break;
	}
	SIM_SAY("node %u: local %u", node, kind);
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
	replica_hello(n->r, sim.now, seen, count, 4096, 4);
	sim_after(node);
}

/* ---- effects -------------------------------------------------------------------------------- */

static void run_answer(uint8_t node, struct sim_run *run, enum cl_outcome outcome, uint16_t code,
		       uint64_t v0, uint64_t v1)
{
	struct core_result result = { .id = run->fx.id, .outcome = (uint8_t)outcome, .code = code };

	if (!run->used)
		return;
	result.values[0] = v0;
	result.values[1] = v1;
	SIM_SAY("node %u: effect %llu %s %s -> %s %u", node, (unsigned long long)run->fx.id,
		core_effect_name(run->fx.kind), run->name, cl_outcome_name(outcome), code);
	run->used = false;
	if (!sim.nodes[node].daemon)
		return;
	replica_result(sim.nodes[node].r, sim.now, &result);
	sim_after(node);
}

static uint16_t pr_status(enum model_lun_status status)
{
	return status == MODEL_LUN_GOOD ? 0 : EIO;
}

static void attentions_clear(struct model_lun *lun, uint8_t node)
{
	while (model_lun_attention_take(lun, node))
		;
}

static uint16_t do_fence(uint8_t node, const struct core_effect *fx)
{
	struct model_lun *lun = &sim.luns[fx->volume];
	uint32_t victims = 0;
	uint16_t code = 0;

	attentions_clear(lun, node);
	if (!lun->registered[node])
		return EACCES;
	if (fx->pr_key_old && model_lun_have_key(lun, fx->pr_key_old))
		model_lun_preempt(lun, node, lun->key[node], fx->pr_key_old, 8, true, &victims);
	if (!model_lun_have_key(lun, fx->pr_key))
		return ENOKEY;
	code = pr_status(model_lun_preempt(lun, node, lun->key[node], fx->pr_key, 8, true, &victims));
	refused_check();
	return code;
}

static uint16_t do_register(uint8_t node, uint32_t volume, uint64_t key, uint64_t key_old)
{
	struct model_lun *lun = &sim.luns[volume];

	attentions_clear(lun, node);
	if (model_lun_register(lun, node, 0, key, true, true) != MODEL_LUN_GOOD)
		return EIO;
	if (!lun->held && model_lun_reserve(lun, node, key, 8) != MODEL_LUN_GOOD)
		return EIO;
	if (key_old && key_old != key && model_lun_have_key(lun, key_old))
		model_lun_preempt(lun, node, key, key_old, 8, true, NULL);
	return 0;
}

/* The change in the world; 0, or the errno of a failure that changed nothing. */
static uint16_t run_do(uint8_t node, struct sim_run *run)
{
	struct sim_node *n = &sim.nodes[node];
	const struct core_effect *fx = &run->fx;
	int vm = fx->vm == CORE_NONE ? -1 : sim_vm_of(run->name);
	struct sim_vm *p = vm >= 0 ? &n->vms[vm] : NULL;
	uint32_t i;

	switch (fx->kind) {
	case CORE_FX_NODE_RESET:
		/* Whatever else was asked of this machine is over, in progress or not. */
		for (i = 0; i < SIM_RUNS; i++)
			if (n->runs[i].fx.id < fx->id)
				n->runs[i].used = false;
		for (i = 0; i < SIM_VMS; i++)
			process_end(node, i, true);
		for (i = 0; i < SIM_VOLUMES; i++) {
			n->attached[i] = n->mounted[i] = n->layouts[i] = false;
			sim.mount_held[i][node] = false;
		}
		n->frozen = n->killed = false;
		memset(n->killed_up_to, 0, sizeof(n->killed_up_to));
		sim_oracle_proof(node); /* its own word */
		return 0;
	case CORE_FX_VOL_FORMAT:
		if (do_register(node, fx->volume, fx->pr_key, 0))
			return EIO;
		sim.formatted[fx->volume] = true;
		return 0;
	case CORE_FX_VOL_JOIN:
		if (!sim.formatted[fx->volume])
			sim_fail("node %u attaches volume %u, which is not formatted", node, fx->volume);
		if (do_register(node, fx->volume, fx->pr_key, fx->pr_key_old))
			return EIO;
		n->attached[fx->volume] = true;
		for (i = 1; i <= sim.count; i++)
			n->layouts[fx->volume] |= sim.nodes[i].mounted[fx->volume] && model_lun_may_write(&sim.luns[fx->volume], i);
		return 0;
	case CORE_FX_VOL_OWN:
		if (sim.lun_term[fx->volume] > fx->term || n->released_term[fx->volume] >= fx->term)
			return ESTALE; /* compare and write of the term record; let go already */
		if (!n->attached[fx->volume] || !model_lun_may_write(&sim.luns[fx->volume], node))
			return EBADE;
		sim.lun_term[fx->volume] = fx->term;
		if (!n->mounted[fx->volume]) {
			n->mounted[fx->volume] = true;
			sim_oracle_mount(node, fx->volume, fx->members);
		}
		n->mount_term[fx->volume] = fx->term;
		return 0;
	case CORE_FX_VOL_RELEASE:
		n->released_term[fx->volume] = fx->term;
		n->mounted[fx->volume] = false;
		sim.mount_held[fx->volume][node] = false;
		return 0;
	case CORE_FX_VOL_GONE:
		return n->mounted[fx->volume] ? 0 : ENOENT;
	case CORE_FX_FENCE:
		return do_fence(node, fx);
	case CORE_FX_DISK_CREATE:
	case CORE_FX_DISK_DELETE:
		return n->mounted[fx->volume] ? 0 : ENOENT;
	case CORE_FX_VM_START:
	case CORE_FX_VM_INCOMING:
		if (fx->generation <= n->killed_up_to[vm] || n->killed)
			return ECANCELED;
		if (p->state && p->generation == fx->generation)
			return 0; /* asked again */
		if (p->state)
			return EBUSY;
		if (fx->kind == CORE_FX_VM_START && sim_policy_sick((unsigned)vm, fx->generation))
			return EIO;
		if (fx->kind == CORE_FX_VM_START)
			sim_oracle_start(node, (uint32_t)vm, fx->generation, false);
		process_set(node, (uint32_t)vm,
			    fx->kind == CORE_FX_VM_START ? SIM_VM_RUNNING : SIM_VM_INCOMING,
			    fx->generation);
		if (fx->kind == CORE_FX_VM_START)
			refused_check();
		return 0;
	case CORE_FX_VM_STOP:
	case CORE_FX_VM_KILL:
		if (fx->generation > n->killed_up_to[vm])
			n->killed_up_to[vm] = fx->generation;
		if (p->state && p->generation <= fx->generation)
			process_end(node, (uint32_t)vm, true);
		else if (!p->state)
			sim.held[vm][node] = false;
		return 0;
	case CORE_FX_VM_RESUME:
		if (!p->state || p->generation != fx->generation || n->killed)
			return ESRCH;
		if (p->state == SIM_VM_READY || p->state == SIM_VM_INCOMING)
			sim_oracle_start(node, (uint32_t)vm, fx->generation, true);
		if (p->state != SIM_VM_SENDING)
			process_set(node, (uint32_t)vm, SIM_VM_RUNNING, fx->generation);
		refused_check();
		return 0;
	case CORE_FX_VM_FINISH:
		if (fx->flags & CORE_FLAG_COMMITTED) {
			if (fx->generation > n->killed_up_to[vm])
				n->killed_up_to[vm] = fx->generation;
			if (p->state && p->generation <= fx->generation)
				process_end(node, (uint32_t)vm, true);
			else if (!p->state)
				sim.held[vm][node] = false;
			return 0;
		}
		if (!p->state || p->generation != fx->generation)
			return ESRCH;
		process_set(node, (uint32_t)vm, SIM_VM_RUNNING, p->generation);
		return 0;
	case CORE_FX_VM_SAVE:
		if (p->state == SIM_VM_SAVED)
			return 0;
		if (p->state != SIM_VM_RUNNING || p->generation != fx->generation)
			return ESRCH;
		process_set(node, (uint32_t)vm, SIM_VM_SAVED, p->generation);
		sim.image_there[vm] = true;
		sim.image_used[vm] = false;
		return 0;
	case CORE_FX_VM_RESTORE:
		if (fx->generation <= n->killed_up_to[vm] || n->killed)
			return ECANCELED;
		if (p->state && p->generation == fx->generation)
			return 0;
		if (p->state || !sim.image_there[vm])
			return ENOENT;
		if (sim.image_used[vm])
			sim_fail("v%d: its saved image is used a second time", vm);
		sim.image_used[vm] = true;
		sim_oracle_start(node, (uint32_t)vm, fx->generation, false);
		process_set(node, (uint32_t)vm, SIM_VM_RUNNING, fx->generation);
		refused_check();
		return 0;
	}
	return 0;
}

/* A migration's copying is over: paused at the source; at the target unless the network was cut. */
static uint16_t migrate_switch(uint8_t node, struct sim_run *run)
{
	int vm = sim_vm_of(run->name);
	struct sim_vm *p = &sim.nodes[node].vms[vm];
	uint8_t peer = run->fx.peer;
	struct sim_vm *q = &sim.nodes[peer].vms[vm];

	if (p->state == SIM_VM_SWITCHED)
		return 0;
	if (p->state != SIM_VM_SENDING)
		return ESRCH;
	if (!sim_node_runs(peer) || sim.nodes[peer].part != sim.nodes[node].part ||
	    q->state != SIM_VM_INCOMING) {
		process_set(node, (uint32_t)vm, SIM_VM_RUNNING, p->generation);
		return EPIPE;
	}
	process_set(node, (uint32_t)vm, SIM_VM_SWITCHED, p->generation);
	if (!sim_chance(sim.healed ? 0 : 5))
		process_set(peer, (uint32_t)vm, SIM_VM_READY, q->generation);
	return 0;
}

/* Another effect on the same VM is in progress here: wait for it. */
static bool run_must_wait(struct sim_node *n, const struct sim_run *run)
{
	uint32_t i;

	if (run->fx.vm == CORE_NONE)
		return false;
	for (i = 0; i < SIM_RUNS; i++) {
		const struct sim_run *other = &n->runs[i];

		if (!other->used || other == run || other->fx.vm != run->fx.vm ||
		    other->fx.id >= run->fx.id)
			continue;
		/* What only waits does not hold others up. */
		if (other->fx.kind == CORE_FX_VM_AWAIT || other->fx.kind == CORE_FX_VM_MIGRATE)
			continue;
		return true;
	}
	return false;
}

void sim_run_step(uint8_t node, uint32_t index)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_run *run = &n->runs[index];
	int vm = run->fx.vm == CORE_NONE ? -1 : sim_vm_of(run->name);
	uint16_t code;

	if (!run->used)
		return;
	if (!sim_node_runs(node) || n->daemon_stalled > sim.now) {
		sim_push(sim.now + 200, SIM_EV_RUN, node, index, 0);
		return;
	}
	if (run->stage == 0) {
		bool starts = run->fx.kind == CORE_FX_VM_START || run->fx.kind == CORE_FX_VM_RESTORE ||
			      run->fx.kind == CORE_FX_VM_RESUME;

		/* After the local effects that were asked before it. */
		if (run_must_wait(n, run) || n->local_at > sim.now ||
		    (starts && n->frozen && !n->killed)) {
			sim_push(sim.now + 20, SIM_EV_RUN, node, index, 0);
			return;
		}
		run->stage = 1;
		if (run->fx.kind == CORE_FX_VM_MIGRATE && n->vms[vm].state == SIM_VM_RUNNING &&
		    n->vms[vm].generation == run->fx.generation)
			process_set(node, (uint32_t)vm, SIM_VM_SENDING, run->fx.generation);
		sim_push(sim.now + sim_below(run->fx.kind == CORE_FX_VM_MIGRATE ? 2000 :
					     sim_chance(5)			 ? 1500 :
										   60),
			 SIM_EV_RUN, node, index, 0);
		return;
	}
	if (run->fx.kind == CORE_FX_VM_QUERY) {
		struct sim_vm *p = &n->vms[vm];
		uint64_t seen = CORE_SEEN_NONE;

		if (p->state == SIM_VM_SAVED)
			seen = CORE_SEEN_SAVED;
		else if (p->state == SIM_VM_RUNNING)
			seen = CORE_SEEN_RUNNING;
		else if (p->state == SIM_VM_SENDING)
			seen = CORE_SEEN_MIGRATING;
		else if (p->state)
			seen = CORE_SEEN_PAUSED;
		if (!seen)
			sim.held[vm][node] = false;
		run_answer(node, run, sim_chance(sim.p_lost) ? CL_UNKNOWN : CL_DONE, 0, seen,
			   p->generation);
		return;
	}
	if (run->fx.kind == CORE_FX_VM_AWAIT) {
		struct sim_vm *p = &n->vms[vm];

		if (p->state == SIM_VM_READY)
			run_answer(node, run, sim_chance(sim.p_lost) ? CL_UNKNOWN : CL_DONE, 0, 0, 0);
		else if (p->state != SIM_VM_INCOMING)
			run_answer(node, run, CL_FAILED, ESRCH, 0, 0);
		else if (sim.now - run->started > 10000)
			run_answer(node, run, CL_UNKNOWN, ETIMEDOUT, 0, 0);
		else
			sim_push(sim.now + 50, SIM_EV_RUN, node, index, 0);
		return;
	}
	if (run->stage == 1)
		run->stage = 2;
	if (run->fate == SIM_FATE_FAIL && run->fx.kind != CORE_FX_VM_KILL &&
	    run->fx.kind != CORE_FX_NODE_RESET) {
		if (run->fx.kind == CORE_FX_VM_MIGRATE && n->vms[vm].state == SIM_VM_SENDING)
			process_set(node, (uint32_t)vm, SIM_VM_RUNNING, n->vms[vm].generation);
		run_answer(node, run, CL_FAILED, EIO, 0, 0);
		return;
	}
	if (run->fate == SIM_FATE_LOST_NOT) {
		run_answer(node, run, CL_UNKNOWN, ETIMEDOUT, 0, 0);
		return;
	}
	if (run->fate == SIM_FATE_LOST_LATER && run->stage == 2) {
		/* The reply is lost now; the thing itself happens later, in whatever world is then. */
		struct core_result result = { .id = run->fx.id, .outcome = CL_UNKNOWN };

		run->stage = 3;
		sim_push(sim.now + 200 + sim_below(3000), SIM_EV_RUN, node, index, 0);
		SIM_SAY("node %u: effect %llu %s %s -> reply lost, goes on", node,
			(unsigned long long)run->fx.id, core_effect_name(run->fx.kind), run->name);
		if (n->daemon) {
			replica_result(n->r, sim.now, &result);
			sim_after(node);
		}
		return;
	}
	code = run->fx.kind == CORE_FX_VM_MIGRATE ? migrate_switch(node, run) : run_do(node, run);
	if (!run->used)
		return;
	if (run->stage == 3 || run->fate == SIM_FATE_LOST_DONE) {
		if (run->stage == 3)
			run->used = false;
		else
			run_answer(node, run, CL_UNKNOWN, ETIMEDOUT, 0, 0);
		return;
	}
	if (run->fx.kind == CORE_FX_FENCE && code == 0)
		sim_oracle_fenced(run->fx.volume, run->fx.peer);
	run_answer(node, run, code ? CL_FAILED : CL_DONE, code,
		   run->fx.kind == CORE_FX_VM_INCOMING ? 7410 : 1u << 30, 0);
}

static void effect_begin(uint8_t node, const struct core_effect *fx)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_run *run = NULL;
	uint32_t i;

	for (i = 0; i < SIM_RUNS && !run; i++)
		if (!n->runs[i].used)
			run = &n->runs[i];
	if (!run) {
		sim_fail("node %u: %u effects in progress", node, SIM_RUNS);
		return;
	}
	memset(run, 0, sizeof(*run));
	run->used = true;
	run->fx = *fx;
	run->started = sim.now;
	if (fx->vm != CORE_NONE)
		core_str_copy(run->name, sizeof(run->name), n->r->st.vms[fx->vm].config.name);
	else if (fx->volume != CORE_NONE)
		core_str_copy(run->name, sizeof(run->name), n->r->st.volumes[fx->volume].name);
	if (sim_chance(sim.p_lost))
		run->fate = (uint8_t)(SIM_FATE_LOST_DONE + sim_below(3));
	else if (sim_chance(sim.p_fail))
		run->fate = SIM_FATE_FAIL;
	SIM_SAY("node %u: effect %llu %s %s peer %u generation %llu term %llu begins", node,
		(unsigned long long)fx->id, core_effect_name(fx->kind), run->name, fx->peer,
		(unsigned long long)fx->generation, (unsigned long long)fx->term);
	sim_push(sim.now + sim_below(20), SIM_EV_RUN, node, (uint32_t)(run - n->runs), 0);
}

/* ---- what leaves a replica ------------------------------------------------------------------ */

void sim_sink(void *arg, const struct replica_out *out)
{
	struct sim_node *n = arg;
	uint8_t node = (uint8_t)(n - sim.nodes);
	char text[400];

	switch (out->kind) {
	case REPLICA_MULTICAST:
		sim_cpg_send(node, out->data, out->len_bytes);
		break;
	case REPLICA_STORE:
		sim_disk_op(node, out->log);
		break;
	case REPLICA_EFFECT:
		sim_maintain_effect(node, out->effect);
		effect_begin(node, out->effect);
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
			lease_page(node, out->local->until_ms);
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
		/* The job's word to its operator: created. */
		if (out->trace->object == CORE_OBJECT_VM && out->trace->cause.reason == CORE_WHY_CREATED)
			sim.vm_acked[sim_vm_of(out->trace->name)] = true;
		if (sim.opt.trace) {
			core_trace_render(&n->r->st, out->trace, text, sizeof(text));
			sim_say("node %u: entry %llu %s", node, (unsigned long long)out->trace->seq,
				text);
		}
		break;
	default:
		break;
	}
}
