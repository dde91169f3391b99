/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom csvd serves, from the log's state; see grants_jansson.h and csv/grants.h. */
#include "clusterd/grants_jansson.h"

#include <string.h>

uint64_t cd_grants_generation(const struct core_vm *vm, uint8_t node)
{
	const struct core_migration *m = &vm->migration;
	uint64_t generation = vm->copies & CORE_NODE_BIT(node) ? vm->generation : 0;

	if (m->phase != CORE_MIG_NONE && m->target == node && m->generation > generation)
		generation = m->generation;
	return generation;
}

static json_t *holders_json(const struct core_vm *vm)
{
	json_t *list = json_array();

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++) {
		uint64_t generation = cd_grants_generation(vm, id);

		if (generation)
			json_array_append_new(list, json_pack("{s:i s:I}", "node", id, "generation",
							      (json_int_t)generation));
	}
	return list;
}

static json_t *vm_json(const struct core_vm *vm, uint16_t volume)
{
	json_t *disks = json_array(), *holders;

	for (uint8_t i = 0; i < vm->config.disk_count; i++)
		if (vm->config.disks[i].volume == volume)
			json_array_append_new(disks, json_string(vm->config.disks[i].path));
	holders = json_array_size(disks) ? holders_json(vm) : NULL;
	if (!json_array_size(holders)) {
		json_decref(disks);
		json_decref(holders);
		return NULL;
	}
	return json_pack("{s:s s:o s:o}", "vm", vm->config.name, "disks", disks, "holders",
			 holders);
}

json_t *cd_grants_json(const struct core_state *st, uint16_t volume)
{
	json_t *list = json_array();

	for (uint16_t i = 0; i < CORE_VMS_MAX; i++) {
		json_t *vm =
			st->vms[i].state == CORE_VM_UNUSED ? NULL : vm_json(&st->vms[i], volume);

		if (vm)
			json_array_append_new(list, vm);
	}
	return json_pack("{s:I s:o}", "seq", (json_int_t)st->applied_seq, "vms", list);
}
