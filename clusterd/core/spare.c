/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many nodes can be lost at once?  For every set of k nodes that are up, the VMs that
 * the set takes down are placed, high priority first, on what is left of a copy of the room.  That is what the
 * core would do in earnest, but for VMs that start again where they failed.  Not counted: VMs of
 * priority none, which are not restarted.  Limited, too, by the votes that must stay.
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

/* The VMs of lost find places; or *ret_vm does not. */
static bool set_absorbed(const struct core_state *st, const struct core_room *all, core_nodes lost,
			 uint16_t *ret_vm)
{
	struct core_room room = *all;
	uint8_t priority, node;
	uint16_t i;

	room.up &= (core_nodes)~lost;
	for (priority = CORE_PRIORITY_HIGH; priority >= CORE_PRIORITY_LOW; priority--)
		for (i = 0; i < st->vm_count; i++) {
			const struct core_vm *vm = &st->vms[i];

			if (!(all->at[i] & lost) || vm->policy.priority != priority ||
			    vm->state == CORE_VM_STOPPED || vm->state == CORE_VM_DELETING)
				continue;
			core_room_put(st, &room, i, 0);
			node = core_room_place(st, &room, i, 0);
			if (!node) {
				*ret_vm = i;
				return false;
			}
			core_room_put(st, &room, i, CORE_NODE_BIT(node));
		}
	return true;
}

/* The next set with as many nodes as set has, within 16 bits; 0 after the last. */
static core_nodes set_next(core_nodes set)
{
	uint32_t low = set & (0u - set), ripple = set + low;
	uint32_t next = (((set ^ ripple) >> 2) / low) | ripple;

	return next > UINT16_MAX ? 0 : (core_nodes)next;
}

void core_spare(const struct core_state *st, uint16_t extra, uint8_t max, struct core_spare *out)
{
	unsigned voters = 0, here = 0, k;
	struct core_room room;
	uint8_t id;

	*out = (struct core_spare){ .vm = CORE_NONE };
	core_room_fill(st, &room);
	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (st->nodes[id].state == CORE_NODE_UNUSED || !st->nodes[id].voter)
			continue;
		voters++;
		here += (st->members & CORE_NODE_BIT(id)) != 0;
	}
	if (extra != CORE_NONE && !room.at[extra]) {
		id = core_room_place(st, &room, extra, 0);
		if (id)
			core_room_put(st, &room, extra, CORE_NODE_BIT(id));
	}
	for (k = 1; k <= max && k <= CORE_SPARE_MAX; k++) {
		core_nodes lost = (core_nodes)((1u << k) - 1);

		if (here < k || (here - k) * 2 <= voters) {
			out->limit = CORE_SPARE_QUORUM;
			return;
		}
		for (; lost; lost = set_next(lost)) {
			if ((lost & room.up) != lost || set_absorbed(st, &room, lost, &out->vm))
				continue;
			out->limit = CORE_SPARE_ROOM;
			out->lost = lost;
			return;
		}
		out->losses = (uint8_t)k;
	}
}
