/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether and in which order VMs start by themselves.
 *
 * A failure is the VM's own: its start failed, its process died or was not found.  The loss of its node is
 * none; nodes that are lost too often are another rule's.  When more failures than the limit came within the
 * period, counted from the first, it stays down until an operator starts it.  The period is cluster time, for
 * which slow ticks go on: by the clocks of entries two nodes that differ by a day would never reach a limit.
 *
 * Classes start in order: a VM waits while one of a higher class waits or starts,
 * at most as long as that one's restart_wait_s from the moment when it could have
 * started.  An operator's start does not queue.
 */
#include "clusterd/core/internal.h"

static uint8_t limit_of(const struct core_state *st, const struct core_vm *vm)
{
	unsigned nodes = 0;
	uint8_t id;

	if (vm->policy.failover_limit != CORE_LIMIT_AUTO)
		return vm->policy.failover_limit;
	for (id = 1; id <= CL_NODES_MAX; id++)
		nodes += st->nodes[id].state != CORE_NODE_UNUSED;
	return (uint8_t)(nodes > 3 ? nodes - 1 : 2);
}

static bool in_period(const struct core_state *st, const struct core_vm *vm)
{
	return vm->failures &&
	       st->now_ms - vm->failures_ms < (uint64_t)vm->policy.failover_period_s * 1000;
}

/* The failures that count now, and where their period begins. */
static uint8_t failures_now(const struct core_state *st, const struct core_vm *vm, uint64_t *ret_first)
{
	uint8_t failures = in_period(st, vm) ? vm->failures : 0;

	*ret_first = failures ? vm->failures_ms : st->now_ms; /* may be vm's own */
	return failures;
}

bool core_restart_counts(const struct core_state *st, const struct core_vm *vm)
{
	return vm->state != CORE_VM_UNUSED && vm->state != CORE_VM_FAILED && in_period(st, vm);
}

bool core_restart_last(const struct core_state *st, const struct core_vm *vm)
{
	uint64_t first;

	return failures_now(st, vm, &first) + 1u > limit_of(st, vm);
}

bool core_restart_failed(struct core_state *st, struct core_vm *vm)
{
	uint8_t failures = failures_now(st, vm, &vm->failures_ms);

	vm->failures = (uint8_t)(failures < UINT8_MAX ? failures + 1 : failures);
	return vm->failures > limit_of(st, vm) && !CORE_MUTANT(41);
}

bool core_restart_never(const struct core_vm *vm, enum core_reason why)
{
	return vm->policy.priority == CORE_PRIORITY_NONE && !vm->job &&
	       (why == CORE_WHY_VM_HOST_PROVEN || why == CORE_WHY_VM_HOST_MISSING ||
		why == CORE_WHY_VM_DIED || why == CORE_WHY_SAVE_DROPPED);
}

bool core_restart_queue(const struct core_state *st, const struct core_vm *vm, uint8_t *ret_priority,
			uint64_t *ret_left_ms)
{
	uint64_t left = 0;
	uint16_t i;

	*ret_priority = vm->policy.priority;
	if (vm->job)
		return false;
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *other = &st->vms[i];
		uint64_t until;

		if (other->policy.priority <= vm->policy.priority || !other->run ||
		    (other->state != CORE_VM_WAITING && other->state != CORE_VM_STARTING))
			continue;
		until = other->wanted_ms > other->hold_until_ms ? other->wanted_ms : other->hold_until_ms;
		until += (uint64_t)other->policy.restart_wait_s * 1000;
		if (until <= st->now_ms || until - st->now_ms <= left)
			continue;
		left = until - st->now_ms;
		*ret_priority = other->policy.priority;
	}
	*ret_left_ms = left;
	return left != 0;
}
