/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Placement.  A node can take a VM if it is up, a possible owner, has all its volumes attached,
 * and has the memory and the CPUs: memory is never overcommitted, CPUs by the cluster's factor
 * (vCPUs of all VMs there <= CPUs x factor, and one VM's vCPUs <= that, too).  Of those that can: fewest VMs
 * of its anti-affinity group, then the earliest among its preferred owners, then the most room left (the
 * smaller share of memory and CPUs that would be free), then the lowest id.
 *
 * A VM counts on every node where a process of it may be, and on the one that it
 * is being saved for.  All nodes' use comes from one pass over the VMs.
 */
#include "clusterd/core/place.h"
#include "clusterd/core/internal.h"

static core_nodes vm_nodes(const struct core_vm *vm)
{
	core_nodes at = vm->copies;

	if (vm->state == CORE_VM_QUICK && vm->migration.target)
		at |= CORE_NODE_BIT(vm->migration.target);
	return at;
}

static void count(const struct core_vm *vm, struct core_room *room, core_nodes nodes, bool add)
{
	uint32_t sign = add ? 1u : ~0u;

	for (; nodes; nodes &= (core_nodes)(nodes - 1)) {
		unsigned id = (unsigned)__builtin_ctz(nodes) + 1;

		room->mib[id] += sign * vm->config.memory_mib;
		room->cpus[id] += sign * vm->config.cpus;
		room->vms[id] = (uint16_t)(room->vms[id] + sign);
	}
}

void core_room_fill(const struct core_state *st, struct core_room *room)
{
	uint16_t i;
	uint8_t id;

	room->up = 0;
	for (id = 0; id <= CL_NODES_MAX; id++) {
		room->mib[id] = room->cpus[id] = room->vms[id] = 0;
		if (core_node_up(st, id))
			room->up |= CORE_NODE_BIT(id);
	}
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		room->at[i] = vm->state == CORE_VM_UNUSED ? 0 : vm_nodes(vm);
		if (room->at[i])
			count(vm, room, room->at[i], true);
	}
}

void core_room_put(const struct core_state *st, struct core_room *room, uint16_t vm,
		   core_nodes nodes)
{
	count(&st->vms[vm], room, room->at[vm], false);
	room->at[vm] = nodes;
	count(&st->vms[vm], room, nodes, true);
}

static uint32_t cpus_of(const struct core_state *st, uint8_t node)
{
	return (uint32_t)st->nodes[node].cpus * st->settings.overcommit;
}

/* VMs of the group of vm at node; one of them, of those that insist if there are any. */
static unsigned mates_at(const struct core_state *st, const struct core_room *room,
			 const struct core_vm *vm, uint8_t node, uint16_t *ret_mate, bool *ret_hard)
{
	unsigned mates = 0;
	uint16_t i;

	*ret_hard = false;
	if (!vm->policy.apart[0])
		return 0;
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *mate = &st->vms[i];

		if (!(room->at[i] & CORE_NODE_BIT(node)) || mate == vm ||
		    !core_str_equal(mate->policy.apart, vm->policy.apart))
			continue;
		if (!mates++ || (mate->policy.apart_hard && !*ret_hard))
			*ret_mate = i;
		*ret_hard |= vm->policy.apart_hard || mate->policy.apart_hard;
	}
	return mates;
}

static bool verdict(struct core_verdict *ret_verdict, enum core_fit fit, uint16_t index,
		    uint32_t need, uint32_t have)
{
	*ret_verdict = (struct core_verdict){ .fit = (uint8_t)fit, .index = index, .need = need,
					      .have = have };
	return fit == CORE_FIT_OK;
}

bool core_room_judge(const struct core_state *st, const struct core_room *room, uint16_t index,
		     uint8_t node, struct core_verdict *out)
{
	const struct core_vm *vm = &st->vms[index];
	const struct core_node *n = &st->nodes[node];
	core_nodes bit = CORE_NODE_BIT(node);
	bool self = room->at[index] & bit, hard;
	uint32_t mib = room->mib[node] - (self ? vm->config.memory_mib : 0);
	uint32_t cpus = room->cpus[node] - (self ? vm->config.cpus : 0u);
	uint16_t mate = CORE_NONE;
	uint8_t i;

	if (!(room->up & bit))
		return verdict(out, CORE_FIT_STATE, CORE_NONE, 0, 0);
	if (vm->policy.possible && !(vm->policy.possible & bit) && !CORE_MUTANT(43))
		return verdict(out, CORE_FIT_POSSIBLE, CORE_NONE, 0, 0);
	for (i = 0; i < vm->config.disk_count; i++) {
		uint16_t volume = vm->config.disks[i].volume;

		if (volume != CORE_NONE &&
		    !(st->volumes[volume].attached & ~st->volumes[volume].mute & bit))
			return verdict(out, CORE_FIT_VOLUME, volume, 0, 0);
	}
	if (mib + vm->config.memory_mib > n->memory_mib)
		return verdict(out, CORE_FIT_MEMORY, CORE_NONE, vm->config.memory_mib,
			       n->memory_mib > mib ? n->memory_mib - mib : 0);
	if (cpus_of(st, node) && cpus + vm->config.cpus > cpus_of(st, node))
		return verdict(out, CORE_FIT_CPUS, CORE_NONE, vm->config.cpus,
			       cpus_of(st, node) > cpus ? cpus_of(st, node) - cpus : 0);
	if (room->vms[node] - (self ? 1 : 0) >= (int)CORE_REPORT_MAX)
		return verdict(out, CORE_FIT_COUNT, CORE_NONE, 0, CORE_REPORT_MAX);
	if (mates_at(st, room, vm, node, &mate, &hard) && hard && !CORE_MUTANT(40))
		return verdict(out, CORE_FIT_APART, mate, 0, 0);
	return verdict(out, CORE_FIT_OK, CORE_NONE, 0, 0);
}

/* Free for other VMs once vm is there, in thousandths; the scarcer of the two. */
static uint32_t room_left(const struct core_state *st, const struct core_room *room, uint16_t index,
			  uint8_t node)
{
	const struct core_vm_config *c = &st->vms[index].config;
	bool self = room->at[index] & CORE_NODE_BIT(node);
	uint32_t mib = room->mib[node] + (self ? 0 : c->memory_mib), all = st->nodes[node].memory_mib;
	uint32_t cpus = room->cpus[node] + (self ? 0u : c->cpus), all_cpus = cpus_of(st, node);
	uint32_t left = (uint32_t)((uint64_t)(all - mib) * 1000 / (all ? all : 1)), left_cpus;

	if (!all_cpus)
		return left;
	left_cpus = (all_cpus - cpus) * 1000 / all_cpus;
	return left < left_cpus ? left : left_cpus;
}

static unsigned preferred_rank(const struct core_vm *vm, uint8_t node)
{
	unsigned i;

	for (i = 0; i < CL_NODES_MAX && vm->policy.preferred[i]; i++)
		if (vm->policy.preferred[i] == node)
			break;
	return vm->policy.preferred[i < CL_NODES_MAX ? i : 0] == node ? i : CL_NODES_MAX;
}

uint8_t core_room_place(const struct core_state *st, const struct core_room *room, uint16_t index,
			core_nodes except)
{
	const struct core_vm *vm = &st->vms[index];
	unsigned best_mates = 0, best_rank = 0;
	uint32_t best_left = 0;
	uint8_t id, best = 0;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		struct core_verdict v;
		unsigned mates, rank;
		uint16_t mate;
		uint32_t left;
		bool hard;

		if ((except & CORE_NODE_BIT(id)) || !core_room_judge(st, room, index, id, &v))
			continue;
		mates = mates_at(st, room, vm, id, &mate, &hard);
		rank = preferred_rank(vm, id);
		left = room_left(st, room, index, id);
		if (best && (mates != best_mates ? mates > best_mates :
			     rank != best_rank	 ? rank > best_rank :
						   left <= best_left))
			continue;
		best = id;
		best_mates = mates;
		best_rank = rank;
		best_left = left;
	}
	return best;
}

/* ---- of the state as it is ------------------------------------------------------------------ */

uint32_t core_node_used_mib(const struct core_state *st, uint8_t node)
{
	uint32_t used = 0;
	uint16_t i;

	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state != CORE_VM_UNUSED && (vm_nodes(vm) & CORE_NODE_BIT(node)))
			used += vm->config.memory_mib;
	}
	return used;
}

bool core_place_fits(const struct core_state *st, const struct core_vm *vm, uint8_t node)
{
	struct core_room room;
	struct core_verdict v;

	core_room_fill(st, &room);
	return core_room_judge(st, &room, core_vm_index(st, vm), node, &v);
}

uint8_t core_place(const struct core_state *st, const struct core_vm *vm, core_nodes except)
{
	struct core_room room;

	core_room_fill(st, &room);
	return core_room_place(st, &room, core_vm_index(st, vm), except);
}

bool core_place_preferred(const struct core_vm *vm, uint8_t node)
{
	return preferred_rank(vm, node) < CL_NODES_MAX;
}

enum core_reason core_place_volumes(const struct core_state *st, const struct core_vm *vm,
				    uint8_t *ret_node)
{
	uint8_t i;

	*ret_node = 0;
	for (i = 0; i < vm->config.disk_count; i++) {
		uint16_t index = vm->config.disks[i].volume;
		const struct core_volume *v;

		if (index == CORE_NONE)
			continue;
		v = &st->volumes[index];
		if (v->state != CORE_VOLUME_ACTIVE)
			return CORE_WHY_VM_WAIT_VOLUME;
		/* The owner must have dropped the opens of the node where it ran. */
		if (vm->node && ((v->stale | v->gone) & CORE_NODE_BIT(vm->node))) {
			*ret_node = vm->node;
			return CORE_WHY_VM_WAIT_FENCE;
		}
	}
	return CORE_WHY_NONE;
}
