/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Emptying a node, and bringing VMs home.
 *
 * A drain is a wish in the node's state (`drain`), looked at after every entry: it goes on after a restart of any
 * clusterd, after a reboot of the node, and after the death of whoever carried out a step.
 * VMs leave in the order of their priority, as many at a time as the caps allow, each by the ladder of
 * enum core_rung:
 *
 *   live -> throttled -> longer pause -> quick -> shutdown
 *         (a rung that is not possible for the VM is passed over)
 *
 * A rung is left when the copy or the save itself failed, or after CORE_RUNG_TRIES other failures.  A VM whose
 * policy allows no further rung stays and says so; the ladder begins anew after CORE_DRAIN_AGAIN_MS.
 *
 * Home is where a drain or a loss took a VM away, or its first preferred owner.  It goes
 * there live, by its failback policy, or at once when the operator resumed the node with --failback; then by
 * save and restore, too.
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

#include <string.h>

#define HOUR_MS 3600000u

bool core_vm_savable(const struct core_vm *vm)
{
	return vm->config.disk_count && vm->config.disks[0].volume != CORE_NONE;
}

static bool vm_movable(const struct core_state *st, const struct core_vm *vm)
{
	return vm->state == CORE_VM_RUNNING && vm->run && vm->copies == CORE_NODE_BIT(vm->node) &&
	       st->now_ms >= vm->retry_ms;
}

/* ---- caps ----------------------------------------------------------------------------------- */

struct moves {
	uint8_t out[CL_NODES_MAX + 1];
	uint8_t in[CL_NODES_MAX + 1];
};

static void moves_count(const struct core_state *st, struct moves *moves)
{
	uint16_t i;
	uint8_t id;

	for (id = 0; id <= CL_NODES_MAX; id++)
		moves->out[id] = moves->in[id] = 0;
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state != CORE_VM_LIVE && vm->state != CORE_VM_QUICK)
			continue;
		moves->out[vm->migration.source]++;
		moves->in[vm->migration.target]++;
	}
}

/* Nodes that take in as many as they may. */
static core_nodes moves_full(const struct core_state *st, const struct moves *moves)
{
	core_nodes full = 0;
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++)
		if (moves->in[id] >= st->settings.migrations_in)
			full |= CORE_NODE_BIT(id);
	return full;
}

/* ---- drain ---------------------------------------------------------------------------------- */

/* The rung to try now, passing over what cannot be. */
static uint8_t rung_next(const struct core_vm *vm)
{
	uint8_t rung = vm->migration.rung;

	if (rung == CORE_RUNG_PAUSE && vm->policy.max_pause_ms <= CORE_PAUSE_MS)
		rung++;
	if (rung == CORE_RUNG_QUICK && !core_vm_savable(vm))
		rung++;
	return rung;
}

static uint8_t rung_last(const struct core_vm *vm)
{
	return vm->policy.drain == CORE_RUNG_LIVE ? CORE_RUNG_PAUSE : vm->policy.drain;
}

static void why_once(struct core_state *st, struct core_vm *vm, enum core_reason why, uint8_t node,
		     uint64_t n1, uint64_t n2)
{
	if (vm->cause.reason == why)
		return;
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, why, node, n1, n2);
	vm->cause = core_cause(why, node, n1, n2);
}

static void vm_leave(struct core_state *st, struct core_node *n, struct core_vm *vm,
		     struct moves *moves)
{
	core_nodes here = CORE_NODE_BIT(n->id);
	uint8_t rung = rung_next(vm), target;
	char last[CORE_CAUSE_MAX];

	if (rung > rung_last(vm)) {
		vm->migration.rung = CORE_RUNG_LIVE;
		vm->retry_ms = st->now_ms + CORE_DRAIN_AGAIN_MS;
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
			       CORE_WHY_DRAIN_STUCK, n->id, CORE_DRAIN_AGAIN_MS, 0);
		memcpy(last, vm->cause.text, sizeof(last));
		vm->cause = core_cause(CORE_WHY_DRAIN_STUCK, n->id, CORE_DRAIN_AGAIN_MS, 0);
		memcpy(vm->cause.text, last, sizeof(last));
		return;
	}
	target = core_place(st, vm, here | moves_full(st, moves));
	if (moves->out[n->id] >= st->settings.migrations_out || !target) {
		if (!target && !core_place(st, vm, here))
			why_once(st, vm, CORE_WHY_DRAIN_NO_TARGET, n->id, 0, 0);
		else
			why_once(st, vm, CORE_WHY_DRAIN_QUEUED, n->id, st->settings.migrations_out,
				 st->settings.migrations_in);
		return;
	}
	if (!vm->home)
		vm->home = n->id;
	if (rung == CORE_RUNG_SHUTDOWN) {
		core_vm_shutdown(st, vm);
		return;
	}
	if (rung == CORE_RUNG_QUICK)
		core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
			       CORE_WHY_MIG_FALL_BACK, n->id, 0, 0);
	if (core_migrate_start(st, vm, target, (enum core_rung)rung, true) == 0) {
		moves->out[n->id]++;
		moves->in[target]++;
	}
}

static bool volumes_leave(struct core_state *st, const struct core_node *n)
{
	bool left = false;
	uint16_t i;

	for (i = 0; i < st->volume_count; i++) {
		struct core_volume *v = &st->volumes[i];
		uint8_t id, best = 0;

		if (v->state == CORE_VOLUME_UNUSED || v->owner != n->id)
			continue;
		left = true;
		if (v->state != CORE_VOLUME_ACTIVE || v->want || st->now_ms < v->retry_ms)
			continue;
		for (id = 1; id <= CL_NODES_MAX && !best; id++)
			if (id != n->id && core_node_up(st, id) && (v->attached & CORE_NODE_BIT(id)))
				best = id;
		v->want = best;
		if (best)
			core_volume_reconcile(st, i);
	}
	return left;
}

static void drain_step(struct core_state *st, struct core_node *n)
{
	core_nodes here = CORE_NODE_BIT(n->id);
	bool left = false;
	struct moves moves;
	int priority;
	uint16_t i;

	moves_count(st, &moves);
	for (priority = CORE_PRIORITY_HIGH; priority >= CORE_PRIORITY_NONE; priority--)
		for (i = 0; i < st->vm_count; i++) {
			struct core_vm *vm = &st->vms[i];

			if (vm->state == CORE_VM_UNUSED || !(vm->copies & here))
				continue;
			left = true;
			if (vm->policy.priority == priority && vm->node == n->id && vm_movable(st, vm))
				vm_leave(st, n, vm, &moves);
		}
	left |= volumes_leave(st, n);
	if (left)
		return;
	core_node_set(st, n, CORE_NODE_PAUSED, CORE_WHY_DRAINED, 0, 0, 0);
	core_job_end_reason(st, &n->job, true, CORE_WHY_DRAINED, 0, 0, 0);
}

void core_drain_forget(const struct core_state *st, struct core_vm *vm)
{
	if (st->nodes[vm->node].state == CORE_NODE_DRAINING)
		return;
	vm->restart = false;
	switch (vm->cause.reason) {
	case CORE_WHY_DRAIN_NO_TARGET:
	case CORE_WHY_DRAIN_QUEUED:
	case CORE_WHY_DRAIN_STUCK:
	case CORE_WHY_DRAIN_REFUSED:
		vm->cause = core_cause(CORE_WHY_VM_STARTED, vm->node, vm->generation, 0);
		break;
	}
}

/* ---- failback ------------------------------------------------------------------------------- */

static bool hour_within(uint64_t clock_ms, uint8_t from, uint8_t to)
{
	unsigned hour = (unsigned)(clock_ms / HOUR_MS % 24);

	return from < to ? hour >= from && hour < to : hour >= from || hour < to;
}

/* Its policy lets it go home, but for the hour. */
static bool failback_wished(const struct core_state *st, const struct core_vm *vm)
{
	return vm->home && vm->state == CORE_VM_RUNNING && vm->home != vm->node &&
	       vm->policy.failback != CORE_FAILBACK_NEVER &&
	       vm->node != vm->policy.preferred[0] && /* nowhere is better */
	       core_node_up(st, vm->home);
}

bool core_failback_waits(const struct core_state *st, const struct core_vm *vm)
{
	return failback_wished(st, vm) && vm->policy.failback == CORE_FAILBACK_WINDOW &&
	       !hour_within(st->clock_ms, vm->policy.failback_from, vm->policy.failback_to);
}

static void home_forget(struct core_state *st, struct core_vm *vm, enum core_reason why)
{
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, why, vm->home, 0, 0);
	vm->home = 0;
	vm->migration.rung = CORE_RUNG_LIVE;
}

void core_failback_reconcile(struct core_state *st, struct core_vm *vm)
{
	const struct core_node *n = &st->nodes[vm->home];
	bool asked = n->failback && core_node_up(st, n->id);
	struct moves moves;
	uint8_t rung, last;

	if (vm->home == vm->node) {
		vm->home = 0;
		return;
	}
	/* A node that is being drained decides over its VMs. */
	if ((!asked && (!failback_wished(st, vm) || core_failback_waits(st, vm))) ||
	    !vm_movable(st, vm) || !core_node_up(st, vm->node))
		return;
	rung = rung_next(vm);
	last = asked && rung_last(vm) >= CORE_RUNG_QUICK ? CORE_RUNG_QUICK : CORE_RUNG_THROTTLED;
	if (rung > last) {
		home_forget(st, vm, CORE_WHY_FAILBACK_GIVEN_UP);
		return;
	}
	if (!core_place_fits(st, vm, n->id)) {
		if (asked)
			home_forget(st, vm, CORE_WHY_FAILBACK_NO_ROOM);
		return;
	}
	moves_count(st, &moves);
	if (moves.out[vm->node] >= st->settings.migrations_out ||
	    (moves_full(st, &moves) & CORE_NODE_BIT(n->id)))
		return;
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state, CORE_WHY_FAILBACK,
		       n->id, 0, 0);
	core_migrate_start(st, vm, n->id, (enum core_rung)rung, true);
}

/* The job of `node resume --failback` ends when nothing is on its way home any more. */
static void failback_step(struct core_state *st, struct core_node *n)
{
	uint16_t i;

	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state != CORE_VM_UNUSED && vm->home == n->id && vm->run &&
		    vm->state != CORE_VM_FAILED)
			return;
	}
	n->failback = false;
	core_job_end(st, &n->job, true, "everything is home");
}

void core_drain_reconcile(struct core_state *st, struct core_node *n)
{
	if (n->state == CORE_NODE_DRAINING && (st->members & CORE_NODE_BIT(n->id)))
		drain_step(st, n);
	else if (n->state == CORE_NODE_UP && n->failback)
		failback_step(st, n);
}
