/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Placement: of the nodes that are up and have all the VM's volumes, the one with most free memory. */
#include "clusterd/core/internal.h"

uint32_t core_node_used_mib(const struct core_state *st, uint8_t node)
{
	uint32_t used = 0;
	uint16_t i;

	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state != CORE_VM_UNUSED && (vm->copies & CORE_NODE_BIT(node)))
			used += vm->config.memory_mib;
	}
	return used;
}

bool core_place_fits(const struct core_state *st, const struct core_vm *vm, uint8_t node)
{
	uint32_t used;
	uint8_t i;

	for (i = 0; i < vm->config.disk_count; i++) {
		uint16_t index = vm->config.disks[i].volume;

		if (index != CORE_NONE && !(st->volumes[index].attached & CORE_NODE_BIT(node)))
			return false;
	}
	used = core_node_used_mib(st, node);
	return used + vm->config.memory_mib <= st->nodes[node].memory_mib;
}

uint8_t core_place(const struct core_state *st, const struct core_vm *vm, core_nodes except)
{
	uint32_t best_free = 0;
	uint8_t id, best = 0;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		uint32_t free_mib;

		if ((except & CORE_NODE_BIT(id)) || !core_node_up(st, id) ||
		    !core_place_fits(st, vm, id))
			continue;
		free_mib = st->nodes[id].memory_mib - core_node_used_mib(st, id);
		if (!best || free_mib > best_free) {
			best = id;
			best_free = free_mib;
		}
	}
	return best;
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
