/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM's life.
 *
 * `copies` is the set of nodes where a process of the VM may exist: a bit is set
 * by the entry that issues the effect which may create the process, and cleared
 * only by a result that says that there is none, by the process's own exit, or by the proof that
 * the node's incarnation is over.  A start needs copies to be empty.  That is the whole of "never
 * twice"; everything else here is bookkeeping.
 *
 *   CREATING -> STOPPED -> WAITING -> STARTING -> RUNNING -> STOPPING -> STOPPED
 *                  ^          ^            |        |  |
 *                  |          +------------+--------+  +-> LIVE / QUICK (migrate.c)
 *                  |          |  failed, lost          +-> UNKNOWN (asked, or its node awaits proof)
 *                  +- FAILED <+  too often
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

#include <errno.h>
#include <string.h>

void core_vm_set(struct core_state *st, struct core_vm *vm, uint8_t state, enum core_reason why,
		 uint8_t node, uint64_t n1, uint64_t n2)
{
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, state, why, node, n1, n2);
	if (state == CORE_VM_WAITING && vm->state != CORE_VM_WAITING && vm->state != CORE_VM_STARTING)
		vm->wanted_ms = st->now_ms;
	vm->since_ms = st->now_ms;
	vm->changed_seq = st->applied_seq;
	vm->state = state;
	vm->cause = core_cause(why, node, n1, n2);
	core_cause_tell(st, &vm->cause);
}

void core_vm_why(struct core_vm *vm, enum core_reason why, uint8_t node, uint64_t n1)
{
	vm->cause = core_cause(why, node, n1, 0);
}

void core_vm_query(struct core_state *st, struct core_vm *vm, uint8_t node)
{
	uint16_t index = core_vm_index(st, vm);
	struct core_effect *fx;

	if (core_effect_find(st, CORE_FX_VM_QUERY, node, CORE_NONE, index))
		return;
	fx = core_effect_new(st, CORE_FX_VM_QUERY, node, CORE_NONE, index);
	if (fx)
		fx->term = st->applied_seq; /* what it finds is as of this entry or later */
}

void core_vm_kill(struct core_state *st, struct core_vm *vm, uint8_t node, uint64_t generation)
{
	uint16_t index = core_vm_index(st, vm);
	struct core_effect *fx;

	fx = core_effect_find(st, CORE_FX_VM_KILL, node, CORE_NONE, index);
	if (fx && fx->generation >= generation)
		return;
	core_effect_drop(st, fx); /* one of before says nothing of what came there since */
	fx = core_effect_new(st, CORE_FX_VM_KILL, node, CORE_NONE, index);
	if (fx)
		fx->generation = generation;
}

/* What it should do now that no process at node is left. */
static void vm_rest(struct core_state *st, struct core_vm *vm, enum core_reason why, uint8_t node,
		    uint64_t n1)
{
	memset(&vm->migration, 0, offsetof(struct core_migration, job));
	core_job_end_reason(st, &vm->migration.job, false, why, node, n1, 0);
	vm->exited = vm->restart = false;
	if (vm->run && core_restart_never(vm, why)) {
		vm->run = false;
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, why, node, n1,
			       0);
		why = CORE_WHY_VM_NO_RESTART;
	}
	if (vm->run) {
		core_vm_set(st, vm, CORE_VM_WAITING, why, node, n1, vm->failures);
		return;
	}
	vm->saved = false;
	vm->home = 0;
	core_vm_set(st, vm, CORE_VM_STOPPED, why, node, n1, 0);
	core_job_end_reason(st, &vm->job, true, why, node, n1, 0);
}

void core_vm_copy_ended(struct core_state *st, struct core_vm *vm, uint8_t node,
			enum core_reason why, bool failure, uint64_t n1)
{
	vm->copies &= (core_nodes)~CORE_NODE_BIT(node);
	vm->retry_ms = 0; /* whatever was waited for there, such as a drain's next try */
	if (failure && vm->run && !core_restart_never(vm, why)) {
		vm->avoid = node;
		vm->retry_ms = st->now_ms + st->timing.retry_ms;
		if (core_restart_failed(st, vm)) {
			memset(&vm->migration, 0, offsetof(struct core_migration, job));
			core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, why,
				       node, n1, vm->failures);
			core_job_end_reason(st, &vm->migration.job, false, why, node, n1, 0);
			core_job_end_reason(st, &vm->job, false, why, node, n1, vm->failures);
			vm->exited = false;
			core_vm_set(st, vm, CORE_VM_FAILED, CORE_WHY_VM_GAVE_UP, node, vm->failures,
				    vm->policy.failover_period_s);
			return;
		}
	}
	vm_rest(st, vm, why, node, n1);
}

/* ---- start, stop ---------------------------------------------------------------------------- */

/* Where it starts: what the operator said, else the best, rather not where it failed. */
static uint8_t start_place(const struct core_state *st, const struct core_vm *vm,
			   enum core_reason *ret_why)
{
	uint16_t index = core_vm_index(st, vm);
	struct core_verdict verdict;
	struct core_room room;
	uint8_t node = 0;

	core_room_fill(st, &room);
	*ret_why = CORE_WHY_VM_PLACED_ASKED;
	if (vm->prefer && core_room_judge(st, &room, index, vm->prefer, &verdict))
		return vm->prefer;
	if (vm->avoid)
		node = core_room_place(st, &room, index, CORE_NODE_BIT(vm->avoid));
	if (!node)
		node = core_room_place(st, &room, index, 0);
	*ret_why = core_place_preferred(vm, node) ? CORE_WHY_VM_PLACED_PREFERRED : CORE_WHY_VM_PLACED;
	return node;
}

static void start_reconcile(struct core_state *st, uint16_t index)
{
	struct core_vm *vm = &st->vms[index];
	enum core_reason why;
	struct core_effect *fx;
	uint8_t node, priority;
	uint64_t left_ms;

	if (vm->copies && !CORE_MUTANT(7)) {
		node = (uint8_t)(__builtin_ctz(vm->copies) + 1);
		if (core_node_ok(st, node)) {
			core_vm_kill(st, vm, node, vm->generation_last);
			core_vm_why(vm, CORE_WHY_VM_WAIT_COPY, node, 0);
		} else {
			core_vm_why(vm, CORE_WHY_VM_WAIT_FENCE, node, 0);
		}
		return;
	}
	if (core_disarmed_waits(st, vm))
		return;
	if (st->now_ms < vm->hold_until_ms) {
		core_vm_why(vm, CORE_WHY_VM_WAIT_HOLD, vm->node, vm->hold_until_ms - st->now_ms);
		return;
	}
	if (st->now_ms < vm->retry_ms)
		return;
	if (core_restart_queue(st, vm, &priority, &left_ms)) {
		if (vm->cause.reason != CORE_WHY_VM_WAIT_CLASS)
			core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
				       CORE_WHY_VM_WAIT_CLASS, 0, left_ms, priority);
		core_vm_why(vm, CORE_WHY_VM_WAIT_CLASS, 0, left_ms);
		return;
	}
	why = core_place_volumes(st, vm, &node);
	if (why) {
		core_vm_why(vm, why, node, 0);
		return;
	}
	node = start_place(st, vm, &why);
	if (!node) {
		if (vm->cause.reason != CORE_WHY_VM_NO_ROOM)
			core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
				       CORE_WHY_VM_NO_ROOM, 0, vm->config.memory_mib, 0);
		core_vm_why(vm, CORE_WHY_VM_NO_ROOM, 0, vm->config.memory_mib);
		return;
	}
	fx = core_effect_new(st, CORE_FX_VM_START, node, CORE_NONE, index);
	if (!fx)
		return;
	if (!CORE_MUTANT(8))
		vm->generation_last++;
	vm->generation = vm->generation_last;
	vm->node = node;
	vm->prefer = 0;
	vm->exited = false;
	vm->doubt = 0;
	vm->copies |= CORE_NODE_BIT(node);
	fx->generation = vm->generation;
	if (why != CORE_WHY_VM_PLACED_ASKED && vm->policy.failback != CORE_FAILBACK_NEVER &&
	    vm->policy.preferred[0])
		vm->home = vm->policy.preferred[0]; /* which may be where it starts */
	core_vm_set(st, vm, CORE_VM_STARTING, why, node, vm->generation,
		    st->nodes[node].memory_mib - core_node_used_mib(st, node));
}

/* Asks the guest to shut down: for good, or for a drain. */
static void stop_start(struct core_state *st, uint16_t index)
{
	struct core_vm *vm = &st->vms[index];
	struct core_effect *fx = core_effect_new(st, CORE_FX_VM_STOP, vm->node, CORE_NONE, index);

	if (!fx)
		return;
	fx->generation = vm->generation;
	fx->flags = vm->force ? CORE_FLAG_FORCE : 0;
	core_vm_set(st, vm, CORE_VM_STOPPING,
		    vm->restart && vm->run ? CORE_WHY_DRAIN_SHUTDOWN : CORE_WHY_OPERATOR, vm->node, 0, 0);
}

void core_vm_shutdown(struct core_state *st, struct core_vm *vm)
{
	vm->restart = true;
	vm->force = false;
	stop_start(st, core_vm_index(st, vm));
}

/* It runs, as far as one can know. */
static void vm_running(struct core_state *st, struct core_vm *vm, enum core_reason why)
{
	core_vm_set(st, vm, CORE_VM_RUNNING, why, vm->node, vm->generation, 0);
	if (vm->run)
		core_job_end_reason(st, &vm->job, true, why, vm->node, vm->generation, 0);
}

static void process_ended(struct core_state *st, struct core_vm *vm, uint8_t node, uint8_t exit)
{
	switch (exit) {
	case CORE_EXIT_SHUTDOWN:
		/* One that a drain had asked for, and that came late, is no wish to stay down. */
		vm->run &= vm->restart;
		core_vm_copy_ended(st, vm, node, CORE_WHY_VM_SHUTDOWN, false, 0);
		break;
	case CORE_EXIT_RESET:
		core_vm_copy_ended(st, vm, node, CORE_WHY_VM_RESET, false, 0);
		break;
	default:
		core_vm_copy_ended(st, vm, node, CORE_WHY_VM_DIED, true, exit);
		break;
	}
}

static void start_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			 const struct core_result *result)
{
	if (vm->state != CORE_VM_STARTING || vm->generation != fx->generation)
		return;
	switch (result->outcome) {
	case CL_DONE:
		if (vm->exited) {
			process_ended(st, vm, fx->node, vm->exit);
			break;
		}
		vm_running(st, vm, CORE_WHY_VM_STARTED);
		break;
	case CL_FAILED:
		/* Nobody is locked out by a number: the next start is above it. */
		if (st->level >= CORE_LEVEL_IDENTITY && result->values[1] < CORE_GENERATION_MAX &&
		    result->values[1] > vm->generation_last)
			vm->generation_last = result->values[1];
		if (vm->job && result->text[0] && core_restart_last(st, vm) && vm->run)
			core_job_end(st, &vm->job, false, result->text);
		core_vm_copy_ended(st, vm, fx->node, CORE_WHY_VM_START_FAILED, true, result->code);
		break;
	default:
		if (CORE_MUTANT(9)) { /* planted: unknown taken for failed */
			core_vm_copy_ended(st, vm, fx->node, CORE_WHY_VM_START_FAILED, true, 0);
			break;
		}
		core_vm_set(st, vm, CORE_VM_UNKNOWN, CORE_WHY_VM_START_UNKNOWN, fx->node, 0, 0);
		core_vm_query(st, vm, fx->node);
		break;
	}
}

static void stop_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			const struct core_result *result)
{
	if (vm->state != CORE_VM_STOPPING || vm->generation != fx->generation)
		return;
	switch (result->outcome) {
	case CL_DONE:
		core_vm_copy_ended(st, vm, fx->node, CORE_WHY_VM_STOPPED, false, 0);
		break;
	case CL_FAILED:
		if (vm->force) {
			vm->retry_ms = st->now_ms + st->timing.retry_ms;
			core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
				       CORE_WHY_VM_STOP_FAILED, fx->node, result->code, 0);
			break;
		}
		if (vm->run && vm->restart) {
			/* The drain's last rung failed; `restart` stays, in case the guest listens late. */
			vm->migration.rung = CORE_RUNG_OVER;
			core_vm_set(st, vm, CORE_VM_UNKNOWN, CORE_WHY_DRAIN_REFUSED, fx->node,
				    result->code, 0);
			core_vm_query(st, vm, fx->node);
			break;
		}
		/* The guest did not listen: it stays, and the operator hears so.  If it is there: that is asked. */
		vm->run = true;
		core_job_end(st, &vm->job, false,
			     result->text[0] ? result->text : "the guest did not shut down: use --force");
		vm_running(st, vm, CORE_WHY_VM_STOP_FAILED);
		vm->doubt = fx->node;
		break;
	default:
		core_vm_set(st, vm, CORE_VM_UNKNOWN, CORE_WHY_VM_STOP_FAILED, fx->node, 0, 0);
		core_vm_query(st, vm, fx->node);
		break;
	}
}

static void query_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			 const struct core_result *result)
{
	uint8_t seen = (uint8_t)result->values[0];

	if (result->outcome != CL_DONE) {
		vm->retry_ms = vm->doubt_ms = st->now_ms + st->timing.retry_ms;
		if (st->level >= CORE_LEVEL_DOUBTS && vm->node == fx->node)
			vm->doubt = fx->node;
		if (CORE_MUTANT(30))
			vm->doubt = 0;
		return;
	}
	if (vm->state == CORE_VM_LIVE || vm->state == CORE_VM_QUICK) {
		core_migrate_seen(st, vm, fx->node, seen);
		return;
	}
	if (vm->node != fx->node)
		return;
	if (vm->state == CORE_VM_RUNNING && seen == CORE_SEEN_NONE) {
		/* Asked because a report did not have it; only what is as old as the question counts. */
		if (vm->changed_seq <= fx->term)
			core_vm_copy_ended(st, vm, fx->node, CORE_WHY_VM_HOST_MISSING, true, 0);
		else
			vm->doubt = fx->node;
		return;
	}
	if (vm->state == CORE_VM_RUNNING)
		vm->doubt = 0;
	if (vm->state != CORE_VM_UNKNOWN)
		return;
	switch (seen) {
	case CORE_SEEN_NONE:
		core_vm_copy_ended(st, vm, fx->node,
				   vm->restart ? CORE_WHY_VM_STOPPED : CORE_WHY_VM_HOST_MISSING,
				   vm->run && !vm->restart, 0);
		break;
	case CORE_SEEN_RUNNING:
	case CORE_SEEN_MIGRATING:
	case CORE_SEEN_PAUSED:
		if (result->values[1] == vm->generation)
			vm_running(st, vm, CORE_WHY_VM_HOST_BACK);
		else
			core_vm_kill(st, vm, fx->node, vm->generation);
		break;
	default:
		vm->retry_ms = st->now_ms + st->timing.retry_ms;
		break;
	}
}

static void kill_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			const struct core_result *result)
{
	if (result->outcome != CL_DONE) {
		vm->retry_ms = st->now_ms + st->timing.retry_ms;
		return;
	}
	/*
	 * A kill of an old generation says nothing of a newer copy on the same node, and of an aborted
	 * migration nobody remembers where it went: what may be left is killed by the last number given out.
	 */
	if (fx->generation < vm->generation_last && !CORE_MUTANT(26) &&
	    !(vm->node == fx->node && fx->generation >= vm->generation))
		return;
	vm->copies &= (core_nodes)~CORE_NODE_BIT(fx->node);
	/* RUNNING: a stop that was asked with it failed first, and the VM was given back to its operator. */
	if ((vm->state == CORE_VM_STOPPING || vm->state == CORE_VM_UNKNOWN ||
	     vm->state == CORE_VM_RUNNING) &&
	    vm->node == fx->node && fx->generation >= vm->generation)
		core_vm_copy_ended(st, vm, fx->node, CORE_WHY_VM_STOPPED, false, 0);
}

void core_vm_result(struct core_state *st, const struct core_effect *fx,
		    const struct core_result *result)
{
	struct core_vm *vm;

	if (fx->vm >= st->vm_count || st->vms[fx->vm].state == CORE_VM_UNUSED)
		return;
	vm = &st->vms[fx->vm];
	switch (fx->kind) {
	case CORE_FX_DISK_CREATE:
	case CORE_FX_DISK_DELETE:
		core_disk_result(st, vm, fx, result);
		break;
	case CORE_FX_VM_START:
		start_result(st, vm, fx, result);
		break;
	case CORE_FX_VM_STOP:
		stop_result(st, vm, fx, result);
		break;
	case CORE_FX_VM_QUERY:
		query_result(st, vm, fx, result);
		break;
	case CORE_FX_VM_KILL:
		kill_result(st, vm, fx, result);
		break;
	default:
		core_migrate_result(st, vm, fx, result);
		break;
	}
}

/* ---- what nodes tell ------------------------------------------------------------------------ */

/* Nothing is done about it: it is said.  Its state is what it was, and nobody takes it for dead. */
void core_vm_trouble(struct core_state *st, const struct core_command *cmd)
{
	static const uint8_t whys[] = { [CORE_TROUBLE_OVER] = CORE_WHY_VM_ROOM,
					[CORE_TROUBLE_NO_SPACE] = CORE_WHY_VM_NO_SPACE,
					[CORE_TROUBLE_IO_ERROR] = CORE_WHY_VM_IO_ERROR };
	struct core_vm *vm = (struct core_vm *)core_vm_find(st, cmd->name, NULL);

	if (!vm || vm->node != cmd->node || vm->generation != cmd->generation ||
	    st->nodes[cmd->node].incarnation != cmd->incarnation ||
	    !(vm->copies & CORE_NODE_BIT(cmd->node)) ||
	    (cmd->trouble != CORE_TROUBLE_IO_ERROR && vm->cause.reason == whys[cmd->trouble]))
		return;
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
		       (enum core_reason)whys[cmd->trouble], cmd->node, 0, 0);
	core_vm_why(vm, (enum core_reason)whys[cmd->trouble], cmd->node, 0);
	core_cause_tell(st, &vm->cause);
}

void core_vm_exit(struct core_state *st, const struct core_command *cmd)
{
	uint16_t index;
	struct core_vm *vm = (struct core_vm *)core_vm_find(st, cmd->name, &index);
	core_nodes bit = CORE_NODE_BIT(cmd->node);

	if (!vm || !(vm->copies & bit) || st->nodes[cmd->node].incarnation != cmd->incarnation)
		return;
	if (vm->state == CORE_VM_LIVE || vm->state == CORE_VM_QUICK) {
		bool target = vm->migration.target == cmd->node &&
			      vm->migration.generation == cmd->generation;

		if (!target && (vm->node != cmd->node || vm->generation != cmd->generation) &&
		    vm->migration.source != cmd->node)
			return;
		/* Its effects there find nothing.  Asking settles it, also after the migration's end. */
		if (st->level >= CORE_LEVEL_DOUBTS)
			vm->doubt = cmd->node;
		core_vm_query(st, vm, cmd->node);
		return;
	}
	if (vm->node != cmd->node || vm->generation != cmd->generation)
		return;
	switch (vm->state) {
	case CORE_VM_STARTING:
		vm->exited = true;
		vm->exit = cmd->exit;
		break;
	case CORE_VM_STOPPING:
		core_effect_drop(st, core_effect_find(st, CORE_FX_VM_STOP, cmd->node, CORE_NONE, index));
		core_vm_copy_ended(st, vm, cmd->node, CORE_WHY_VM_STOPPED, false, 0);
		break;
	case CORE_VM_RUNNING:
	case CORE_VM_UNKNOWN:
		process_ended(st, vm, cmd->node, cmd->exit);
		break;
	}
}

void core_vm_reported(struct core_state *st, uint8_t node, const struct core_command *hello)
{
	core_nodes bit = CORE_NODE_BIT(node);
	uint16_t i, k;

	for (i = 0; i < st->vm_count; i++) {
		struct core_vm *vm = &st->vms[i];
		const struct core_seen *seen = NULL;
		uint64_t hash;

		if (vm->state == CORE_VM_UNUSED)
			continue;
		hash = core_name_hash(vm->config.name);
		for (k = 0; k < hello->report_count && !seen; k++)
			if (hello->report[k].name_hash == hash)
				seen = &hello->report[k];
		if (seen && !(vm->copies & bit)) {
			/* It should not be there at all. */
			core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
				       CORE_WHY_VM_STALE_COPY, node, seen->generation, 0);
			vm->copies |= bit;
			core_vm_kill(st, vm, node, seen->generation);
			continue;
		}
		if (!(vm->copies & bit))
			continue;
		/* What has changed since the report was made, or is moving, is asked for once more. */
		if (vm->state == CORE_VM_LIVE || vm->state == CORE_VM_QUICK ||
		    (vm->state == CORE_VM_RUNNING && vm->changed_seq > hello->seen_seq)) {
			if (!seen) {
				vm->doubt = node == vm->node ? node : vm->doubt;
				core_vm_query(st, vm, node);
			}
			continue;
		}
		/* What it was told of a start before it ended everything is still on its way to us. */
		if (vm->state == CORE_VM_STARTING && vm->node == node && !seen)
			vm->doubt = node;
		if (vm->state != CORE_VM_RUNNING || vm->node != node)
			continue;
		if (!seen)
			core_vm_copy_ended(st, vm, node, CORE_WHY_VM_HOST_MISSING, true, 0);
		else if (seen->generation != vm->generation)
			core_vm_kill(st, vm, node, vm->generation);
	}
}

void core_vm_node_lost(struct core_state *st, uint16_t index, uint8_t node)
{
	struct core_vm *vm = &st->vms[index];

	if (vm->state == CORE_VM_UNUSED)
		return;
	if (vm->state == CORE_VM_LIVE || vm->state == CORE_VM_QUICK) {
		struct core_migration *m = &vm->migration;

		if (m->phase == CORE_MIG_INCOMING || m->phase == CORE_MIG_COPY) {
			if (m->target == node)
				core_migrate_abort(st, vm, CORE_WHY_MIG_TARGET_LOST, node, 0);
			else if (m->source == node)
				core_migrate_abort(st, vm, CORE_WHY_MIG_SOURCE_LOST, node, 0);
		}
		return;
	}
	if (vm->node == node && (vm->state == CORE_VM_RUNNING || vm->state == CORE_VM_STARTING ||
				 vm->state == CORE_VM_STOPPING))
		core_vm_set(st, vm, CORE_VM_UNKNOWN, CORE_WHY_VM_HOST_LOST, node, 0, 0);
}

void core_vm_node_over(struct core_state *st, uint16_t index, const struct core_node *n)
{
	struct core_vm *vm = &st->vms[index];
	core_nodes bit = CORE_NODE_BIT(n->id);

	if (vm->state == CORE_VM_UNUSED)
		return;
	if (!(vm->copies & bit))
		return;
	vm->copies &= (core_nodes)~bit;
	/* A target that was never told to run needs no hold. */
	if (n->hold_until_ms > vm->hold_until_ms &&
	    !(vm->state == CORE_VM_LIVE && vm->migration.target == n->id &&
	      vm->migration.phase != CORE_MIG_COMMIT))
		vm->hold_until_ms = n->hold_until_ms;
	if (vm->state == CORE_VM_LIVE || vm->state == CORE_VM_QUICK) {
		core_migrate_node_over(st, vm, n);
		return;
	}
	if (vm->node == n->id && !vm->home && vm->policy.failback != CORE_FAILBACK_NEVER)
		vm->home = n->id;
	if (vm->node == n->id &&
	    (vm->state == CORE_VM_RUNNING || vm->state == CORE_VM_STARTING ||
	     vm->state == CORE_VM_STOPPING || vm->state == CORE_VM_UNKNOWN))
		core_vm_copy_ended(st, vm, n->id, CORE_WHY_VM_HOST_PROVEN, false, 0);
}

/* ---- reconcile ------------------------------------------------------------------------------ */

/* Copies that are nobody's any more, such as an aborted migration's target. */
static void leftovers_kill(struct core_state *st, struct core_vm *vm, core_nodes but)
{
	core_nodes extra = vm->copies & (core_nodes)~but;
	uint8_t id;

	if (!extra || st->now_ms < vm->retry_ms)
		return;
	for (id = 1; id <= CL_NODES_MAX; id++)
		if ((extra & CORE_NODE_BIT(id)) && core_node_ok(st, id))
			core_vm_kill(st, vm, id, vm->generation_last);
}

void core_vm_reconcile(struct core_state *st, uint16_t index)
{
	struct core_vm *vm = &st->vms[index];

	switch (vm->state) {
	case CORE_VM_CREATING:
		if (core_disks_step(st, index, CORE_FX_DISK_CREATE)) {
			core_vm_set(st, vm, CORE_VM_STOPPED, CORE_WHY_CREATED, 0, 0, 0);
			core_job_end_reason(st, &vm->job, true, CORE_WHY_CREATED, 0, 0, 0);
		}
		break;
	case CORE_VM_STOPPED:
		if (vm->run)
			core_vm_set(st, vm, CORE_VM_WAITING, CORE_WHY_OPERATOR, 0, 0, 0);
		else
			leftovers_kill(st, vm, 0);
		break;
	case CORE_VM_FAILED:
		leftovers_kill(st, vm, 0);
		break;
	case CORE_VM_WAITING:
		if (!vm->run) {
			if (!vm->copies)
				core_vm_copy_ended(st, vm, vm->node ? vm->node : 1,
						   CORE_WHY_OPERATOR, false, 0);
			else
				start_reconcile(st, index); /* kills what is left */
			break;
		}
		if (vm->saved)
			core_migrate_reconcile(st, vm);
		else
			start_reconcile(st, index);
		break;
	case CORE_VM_RUNNING:
		/* A start that was asked for while it moved. */
		if (vm->run)
			core_job_end_reason(st, &vm->job, true, CORE_WHY_VM_STARTED, vm->node,
					    vm->generation, 0);
		if (vm->avoid && st->now_ms - vm->since_ms >= CORE_STABLE_MS)
			vm->avoid = 0;
		if (!vm->run && core_node_ok(st, vm->node)) {
			stop_start(st, index);
			break;
		}
		leftovers_kill(st, vm, CORE_NODE_BIT(vm->node));
		if (vm->doubt != vm->node)
			vm->doubt = 0; /* it has moved away since, or come back */
		if (vm->doubt && core_node_ok(st, vm->node) && st->now_ms >= vm->doubt_ms)
			core_vm_query(st, vm, vm->node);
		core_drain_forget(st, vm);
		if (vm->home)
			core_failback_reconcile(st, vm);
		break;
	case CORE_VM_STOPPING:
		if (!core_node_ok(st, vm->node) || st->now_ms < vm->retry_ms)
			break;
		if (vm->force)
			core_vm_kill(st, vm, vm->node, vm->generation);
		else if (!core_effect_find(st, CORE_FX_VM_STOP, vm->node, CORE_NONE, index))
			stop_start(st, index);
		break;
	case CORE_VM_UNKNOWN:
		if (core_node_ok(st, vm->node) && st->now_ms >= vm->retry_ms &&
		    !core_effect_find(st, CORE_FX_VM_KILL, vm->node, CORE_NONE, index))
			core_vm_query(st, vm, vm->node);
		break;
	case CORE_VM_LIVE:
	case CORE_VM_QUICK:
		core_migrate_reconcile(st, vm);
		break;
	case CORE_VM_DELETING:
		if (vm->copies) {
			start_reconcile(st, index);
			break;
		}
		if (!core_disks_step(st, index, CORE_FX_DISK_DELETE))
			break;
		core_effects_drop_vm(st, index);
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, CORE_VM_UNUSED,
			       vm->cause.reason, vm->cause.node, vm->cause.n1, vm->cause.n2);
		core_job_end(st, &vm->job, true, "deleted");
		memset(vm, 0, sizeof(*vm));
		while (st->vm_count && st->vms[st->vm_count - 1].state == CORE_VM_UNUSED)
			st->vm_count--;
		break;
	}
}
