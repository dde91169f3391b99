/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The executors of effects: slow, failing, losing their replies as chance and the plan say.  They are
 * idempotent and serialise by VM, as the daemon's workers are.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

/* ---- effects -------------------------------------------------------------------------------- */

/* Who else is concerned: the victim, the owner, the migration's other side. */
static uint8_t other_side(uint8_t node, const struct core_effect *fx)
{
	const struct core_state *st = &sim.nodes[node].r->st;
	uint16_t i;

	if (fx->peer)
		return fx->peer;
	if (fx->vm != CORE_NONE) {
		const struct core_migration *m = &st->vms[fx->vm].migration;

		return m->source == node ? m->target : m->source;
	}
	for (i = 0; i < st->volume_count && fx->volume != CORE_NONE; i++)
		if (sim_volume_named(st->volumes[i].name) == fx->volume)
			return st->volumes[i].owner;
	return 0;
}

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
	replica_result(sim.nodes[node].r, sim_now(node), &result);
	sim_after(node);
	if (sim.armed[PLAN_ANSWER])
		sim_hook(PLAN_ANSWER, run->fx.kind, node, other_side(node, &run->fx));
}

/*
 * What a node is asked of a volume is done one after the other: by one worker (clusterd/effect.c: BY_VOLUME), which comes
 * back from a REGISTER only when that was answered or aborted, and by csvd in the order in which it was told.  So nothing of
 * before is left to happen later: no key is registered that has been preempted since, no mount let go that was taken since.
 */
static void runs_over(struct sim_node *n, const struct core_effect *fx)
{
	uint32_t i;

	for (i = 0; i < SIM_RUNS; i++)
		if (n->runs[i].used && n->runs[i].fx.volume == fx->volume && n->runs[i].fx.id < fx->id &&
		    (n->runs[i].fx.kind == CORE_FX_VOL_JOIN || n->runs[i].fx.kind == CORE_FX_VOL_RELEASE))
			n->runs[i].used = false;
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
			sim_process_end(node, i, true);
		n->csvd++;
		for (i = 0; i < SIM_VOLUMES; i++) {
			n->attached[i] = n->mounted[i] = n->layouts[i] = false;
			sim.mount_held[i][node] = false;
		}
		n->frozen = n->killed = false;
		memset(n->killed_up_to, 0, sizeof(n->killed_up_to));
		sim_oracle_proof(node); /* its own word */
		return 0;
	case CORE_FX_VOL_FORMAT:
		if (sim_lun_register(node, fx->volume, fx->pr_key, 0))
			return EIO;
		sim.formatted[fx->volume] = true;
		return 0;
	case CORE_FX_VOL_JOIN:
		if (!sim.formatted[fx->volume])
			sim_fail("node %u attaches volume %u, which is not formatted", node, fx->volume);
		runs_over(n, fx);
		if (sim_lun_register(node, fx->volume, fx->pr_key, fx->pr_key_old))
			return EIO;
		n->attached[fx->volume] = true;
		for (i = 1; i <= sim.count; i++)
			/* An owner grants layouts to those whom its clusterd has told it of. */
			n->layouts[fx->volume] |= sim.nodes[i].mounted[fx->volume] &&
						  sim_cpg_ring(node) == sim_cpg_ring((uint8_t)i) &&
						  sim_may_write((uint8_t)i, fx->volume);
		return 0;
	case CORE_FX_VOL_OWN:
		runs_over(n, fx);
		if (sim.lun_term[fx->volume] > fx->term || n->released_term[fx->volume] >= fx->term)
			return ESTALE; /* compare and write of the term record; let go already */
		if (sim_mute(node, fx->volume))
			return EIO;
		if (!n->attached[fx->volume] || !sim_may_write(node, fx->volume))
			return EBADE;
		sim.lun_term[fx->volume] = fx->term;
		if (!n->mounted[fx->volume]) {
			n->mounted[fx->volume] = true;
			sim_oracle_mount(node, fx->volume, fx->members);
		}
		n->mount_term[fx->volume] = fx->term;
		return 0;
	case CORE_FX_VOL_RELEASE:
		if (sim_mute(node, fx->volume))
			return EIO; /* syncfs; it stays mounted */
		n->released_term[fx->volume] = fx->term;
		n->mounted[fx->volume] = false;
		sim.mount_held[fx->volume][node] = false;
		return 0;
	case CORE_FX_VOL_GONE:
		return n->mounted[fx->volume] ? 0 : ENOENT;
	case CORE_FX_FENCE:
		return sim_lun_fence(node, fx);
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
		sim_process_set(node, (uint32_t)vm,
			    fx->kind == CORE_FX_VM_START ? SIM_VM_RUNNING : SIM_VM_INCOMING,
			    fx->generation);
		if (fx->kind == CORE_FX_VM_START)
			sim_lun_check();
		return 0;
	case CORE_FX_VM_STOP:
	case CORE_FX_VM_KILL:
		if (fx->generation > n->killed_up_to[vm])
			n->killed_up_to[vm] = fx->generation;
		if (p->state && p->generation <= fx->generation)
			sim_process_end(node, (uint32_t)vm, true);
		else if (!p->state)
			sim.held[vm][node] = false;
		return 0;
	case CORE_FX_VM_RESUME:
		if (!p->state || p->generation != fx->generation || n->killed)
			return ESRCH;
		if (p->state == SIM_VM_READY || p->state == SIM_VM_INCOMING)
			sim_oracle_start(node, (uint32_t)vm, fx->generation, true);
		if (p->state != SIM_VM_SENDING)
			sim_process_set(node, (uint32_t)vm, SIM_VM_RUNNING, fx->generation);
		sim_lun_check();
		return 0;
	case CORE_FX_VM_FINISH:
		if (fx->flags & CORE_FLAG_COMMITTED) {
			if (fx->generation > n->killed_up_to[vm])
				n->killed_up_to[vm] = fx->generation;
			if (p->state && p->generation <= fx->generation)
				sim_process_end(node, (uint32_t)vm, true);
			else if (!p->state)
				sim.held[vm][node] = false;
			return 0;
		}
		if (!p->state || p->generation != fx->generation)
			return ESRCH;
		sim_process_set(node, (uint32_t)vm, SIM_VM_RUNNING, p->generation);
		return 0;
	case CORE_FX_VM_SAVE:
		if (p->state == SIM_VM_SAVED)
			return 0;
		if (p->state != SIM_VM_RUNNING || p->generation != fx->generation)
			return ESRCH;
		sim_process_set(node, (uint32_t)vm, SIM_VM_SAVED, p->generation);
		sim.image_there[vm] = true;
		sim.image_taken[vm] = 0;
		return 0;
	case CORE_FX_VM_RESTORE:
		if (fx->generation <= n->killed_up_to[vm] || n->killed)
			return ECANCELED;
		if (p->state && p->generation == fx->generation)
			return 0;
		if (p->state || !sim.image_there[vm])
			return ENOENT;
		/* Taken away before anything runs: no other restore finds it. */
		sim.image_there[vm] = false;
		sim.image_taken[vm] = fx->generation;
		sim_oracle_start(node, (uint32_t)vm, fx->generation, false);
		sim_process_set(node, (uint32_t)vm, SIM_VM_RUNNING, fx->generation);
		sim_lun_check();
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
	if (!sim_mutual(node, peer) || q->state != SIM_VM_INCOMING) {
		sim_process_set(node, (uint32_t)vm, SIM_VM_RUNNING, p->generation);
		return EPIPE;
	}
	sim_process_set(node, (uint32_t)vm, SIM_VM_SWITCHED, p->generation);
	if (!sim_chance(sim.healed ? 0 : 5))
		sim_process_set(peer, (uint32_t)vm, SIM_VM_READY, q->generation);
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

/* It has happened, or failed: what is said of it. */
static void run_done(uint8_t node, struct sim_run *run)
{
	if (run->late) {
		run->used = false;
		return;
	}
	if (run->fate == SIM_FATE_LOST_DONE) {
		run_answer(node, run, CL_UNKNOWN, ETIMEDOUT, 0, 0);
		return;
	}
	if (run->fx.kind == CORE_FX_FENCE && run->code == 0)
		sim_oracle_fenced(run->fx.volume, run->fx.peer);
	run_answer(node, run, run->code ? CL_FAILED : CL_DONE, run->code,
		   run->fx.kind == CORE_FX_VM_INCOMING ? 7410 :
		   run->fx.kind == CORE_FX_VOL_JOIN    ? sim.nodes[node].csvd :
							 1u << 30,
		   0);
}

void sim_run_step(uint8_t node, uint32_t index)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_run *run = &n->runs[index];
	int vm = run->fx.vm == CORE_NONE ? -1 : sim_vm_of(run->name);

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
		if (sim.armed[PLAN_BEGIN])
			sim_hook(PLAN_BEGIN, run->fx.kind, node, other_side(node, &run->fx));
		if (run->fx.kind == CORE_FX_FENCE)
			sim_oracle_fence(node, &run->fx);
		if (run->fx.kind == CORE_FX_VM_MIGRATE && n->vms[vm].state == SIM_VM_RUNNING &&
		    n->vms[vm].generation == run->fx.generation)
			sim_process_set(node, (uint32_t)vm, SIM_VM_SENDING, run->fx.generation);
		sim_push(sim.now + sim_below(run->fx.kind == CORE_FX_VM_MIGRATE ? 2000 :
					     vm >= 0 && sim_chance(sim.p_slow)	 ? 9000 :
					     sim_chance(5)			 ? 1500 :
										   60),
			 SIM_EV_RUN, node, index, 0);
		return;
	}
	if (vm >= 0 && n->hang_until[vm] > sim.now && run->fx.kind != CORE_FX_VM_KILL) {
		/* Asked, and nothing comes: clusterd gives up waiting, the vmm may do it some day. */
		if (sim.now - run->started > 8000 &&
		    (run->fx.kind == CORE_FX_VM_QUERY || run->fx.kind == CORE_FX_VM_AWAIT)) {
			run_answer(node, run, CL_UNKNOWN, ETIMEDOUT, 0, 0);
			return;
		}
		if (run->stage < 3 && sim.now - run->started > 8000) {
			run->fate = SIM_FATE_LOST_LATER;
			run->stage = 2;
		} else {
			sim_push(sim.now + 100, SIM_EV_RUN, node, index, 0);
			return;
		}
	}
	if (run->stage == 4) {
		run_done(node, run);
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
	/* Asked again: the image was taken and no process is left.  It may have run; more is not known. */
	if (run->fx.kind == CORE_FX_VM_RESTORE && sim.image_taken[vm] == run->fx.generation &&
	    !(n->vms[vm].state && n->vms[vm].generation == run->fx.generation)) {
		run_answer(node, run, CL_UNKNOWN, ENOENT, 0, 0);
		return;
	}
	/* Asked again, and it is there from the first time: that is no failure (enum core_effect_kind). */
	if (run->fate == SIM_FATE_FAIL && vm >= 0 && n->vms[vm].state &&
	    n->vms[vm].generation == run->fx.generation &&
	    (run->fx.kind == CORE_FX_VM_START || run->fx.kind == CORE_FX_VM_INCOMING ||
	     run->fx.kind == CORE_FX_VM_RESTORE))
		run->fate = SIM_FATE_DONE;
	if (run->stage == 1)
		run->stage = 2;
	if (run->fate == SIM_FATE_FAIL && run->fx.kind != CORE_FX_VM_KILL &&
	    run->fx.kind != CORE_FX_NODE_RESET) {
		if (run->fx.kind == CORE_FX_VM_MIGRATE && n->vms[vm].state == SIM_VM_SENDING)
			sim_process_set(node, (uint32_t)vm, SIM_VM_RUNNING, n->vms[vm].generation);
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
			replica_result(n->r, sim_now(node), &result);
			sim_after(node);
		}
		return;
	}
	run->code = run->fx.kind == CORE_FX_VM_MIGRATE ? migrate_switch(node, run) : run_do(node, run);
	if (!run->used)
		return;
	run->late = run->stage == 3;
	if (sim.armed[PLAN_DONE] &&
	    sim_hook(PLAN_DONE, run->fx.kind, node, other_side(node, &run->fx))) {
		run->stage = 4; /* told a moment later, if then there is somebody to tell */
		sim_push(sim.now + 1, SIM_EV_RUN, node, index, 0);
		return;
	}
	run_done(node, run);
}

void sim_effect_begin(uint8_t node, const struct core_effect *fx)
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
	if (fx->volume != CORE_NONE)
		run->fx.volume = sim_volume_named(n->r->st.volumes[fx->volume].name);
	if (sim_chance(sim.p_lost))
		run->fate = (uint8_t)(SIM_FATE_LOST_DONE + sim_below(3));
	else if (sim_chance(sim.p_fail))
		run->fate = SIM_FATE_FAIL;
	SIM_SAY("node %u: effect %llu %s %s peer %u generation %llu term %llu begins", node,
		(unsigned long long)fx->id, core_effect_name(fx->kind), run->name, fx->peer,
		(unsigned long long)fx->generation, (unsigned long long)fx->term);
	sim_push(sim.now + sim_below(20), SIM_EV_RUN, node, (uint32_t)(run - n->runs), 0);
}

