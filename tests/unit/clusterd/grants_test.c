/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/grants_jansson.c: who may have a VM's disks, at each step of its life. */
#include "clusterd/grants_jansson.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct core_state st;

static struct core_vm *vm_make(void)
{
	struct core_vm *vm = &st.vms[3];

	memset(&st, 0, sizeof(st));
	st.applied_seq = 77;
	st.volume_count = 2;
	strcpy(st.volumes[1].name, "v1");
	vm->state = CORE_VM_STOPPED;
	vm->node = 1; /* where it was last */
	vm->generation = vm->generation_last = 5;
	strcpy(vm->config.name, "web");
	vm->config.disk_count = 2;
	vm->config.disks[0].volume = CORE_NONE;
	strcpy(vm->config.disks[0].path, "/srv/cd.iso");
	vm->config.disks[1].volume = 1;
	strcpy(vm->config.disks[1].path, "web.img");
	return vm;
}

static void a_life(void)
{
	struct core_vm *vm = vm_make();

	CU_ASSERT_EQUAL(cd_grants_generation(vm, 1), 0);
	/* Started at node 1. */
	vm->state = CORE_VM_RUNNING;
	vm->generation = vm->generation_last = 6;
	vm->copies = CORE_NODE_BIT(1);
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 1), 6);
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 2), 0);
	/* A live migration to node 2: both, each its own. */
	vm->migration.phase = CORE_MIG_COPY;
	vm->migration.source = 1;
	vm->migration.target = 2;
	vm->migration.generation = vm->generation_last = 7;
	vm->copies |= CORE_NODE_BIT(2);
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 1), 6);
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 2), 7);
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 3), 0);
	/* Committed, the source is not gone yet; then it is. */
	vm->generation = 7;
	vm->node = 2;
	vm->migration.phase = CORE_MIG_COMMIT;
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 2), 7);
	vm->copies = CORE_NODE_BIT(2);
	vm->migration.phase = CORE_MIG_NONE;
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 1), 0);
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 2), 7);
	/* Its node is lost: it may still run there, until there is proof. */
	vm->state = CORE_VM_UNKNOWN;
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 2), 7);
	vm->copies = 0;
	vm->state = CORE_VM_WAITING;
	CU_ASSERT_EQUAL(cd_grants_generation(vm, 2), 0);
}

static void the_table(void)
{
	struct core_vm *vm = vm_make();
	json_t *table = cd_grants_json(&st, 1), *entry;

	/* A stopped VM's image is a file as others are. */
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(table, "seq")), 77);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(table, "vms")), 0);
	json_decref(table);
	vm->state = CORE_VM_RUNNING;
	vm->copies = CORE_NODE_BIT(1);
	table = cd_grants_json(&st, 0);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(table, "vms")), 0);
	json_decref(table);
	table = cd_grants_json(&st, 1);
	entry = json_array_get(json_object_get(table, "vms"), 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(entry, "vm")), "web");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(entry, "disks")), 1);
	CU_ASSERT_STRING_EQUAL(
		json_string_value(json_array_get(json_object_get(entry, "disks"), 0)), "web.img");
	entry = json_array_get(json_object_get(entry, "holders"), 0);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(entry, "node")), 1);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(entry, "generation")), 5);
	json_decref(table);
}

UNIT_MAIN("grants", { "a life", a_life }, { "the table", the_table })
