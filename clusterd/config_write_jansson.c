/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a configuration: what operators decided, nothing of what runs where. */
#include "clusterd/config_jansson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/node_file_jansson.h"
#include "clusterd/policy_jansson.h"
#include "clusterd/settings_jansson.h"

static json_t *uuid_json(const uint8_t *uuid)
{
	char text[CD_UUID_TEXT];

	cd_uuid_text(uuid, text);
	return json_string(text);
}

static json_t *disks_json(const struct core_state *st, const struct core_vm_config *c)
{
	json_t *list = json_array();

	for (uint8_t i = 0; i < c->disk_count; i++)
		json_array_append_new(list,
				      json_pack("{s:s s:s s:I s:o*}", "volume",
						c->disks[i].volume < st->volume_count
							? st->volumes[c->disks[i].volume].name
							: "",
						"path", c->disks[i].path, "size",
						(json_int_t)c->disks[i].size_bytes, "readonly",
						c->disks[i].readonly ? json_true() : NULL));
	return list;
}

json_t *cd_config_nets(const struct core_vm_config *config)
{
	json_t *list = json_array();

	for (uint8_t i = 0; i < config->net_count; i++) {
		const uint8_t *m = config->nets[i].mac;
		char mac[20];

		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
		json_array_append_new(list, json_pack("{s:s s:s}", "switch", config->nets[i].network, "mac",
						      mac));
	}
	return list;
}

static json_t *vm_json(const struct core_state *st, const struct core_vm *vm)
{
	const struct core_vm_config *c = &vm->config;

	return json_pack("{s:s s:o s:I s:i s:s s:s s:s s:o s:o s:o}", "name", c->name, "uuid",
			 uuid_json(c->uuid), "memory_mib", (json_int_t)c->memory_mib, "cpus", c->cpus,
			 "kernel", c->kernel, "initrd", c->initrd, "append", c->append, "disks",
			 disks_json(st, c), "nets", cd_config_nets(c), "policy",
			 cd_policy_json(st, &vm->policy));
}

static int by_name(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;

	return strcmp(json_string_value(json_object_get(*x, "name")),
		      json_string_value(json_object_get(*y, "name")));
}

/* list (taken over) in the order of names. */
static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list), i;
	json_t **items = calloc(n + 1, sizeof(*items)), *item, *out = json_array();

	if (!items)
		abort();
	json_array_foreach(list, i, item)
		items[i] = item;
	qsort(items, n, sizeof(*items), by_name);
	for (i = 0; i < n; i++)
		json_array_append(out, items[i]);
	free(items);
	json_decref(list);
	return out;
}

json_t *cd_config_write(const struct core_state *st)
{
	json_t *nodes = json_array(), *volumes = json_array(), *vms = json_array();
	uint16_t i;

	for (i = 1; i <= CL_NODES_MAX; i++) {
		const struct core_node *n = &st->nodes[i];

		if (n->state != CORE_NODE_UNUSED)
			json_array_append_new(nodes, json_pack("{s:s s:i s:s s:s}", "name", n->name,
							       "id", (int)n->id, "address", n->address,
							       "vm_address", n->vm_address));
	}
	for (i = 0; i < st->volume_count; i++) {
		const struct core_volume *v = &st->volumes[i];

		if (v->state != CORE_VOLUME_UNUSED)
			json_array_append_new(volumes,
					      json_pack("{s:s s:o s:s s:I}", "name", v->name, "uuid",
							uuid_json(v->uuid), "lun", v->lun, "size",
							(json_int_t)v->size_bytes));
	}
	for (i = 0; i < st->vm_count; i++)
		if (st->vms[i].state != CORE_VM_UNUSED && st->vms[i].state != CORE_VM_DELETING)
			json_array_append_new(vms, vm_json(st, &st->vms[i]));
	return json_pack("{s:s s:i s:{s:s s:o s:I s:o} s:o s:o s:o}", "format", CD_CONFIG_FORMAT,
			 "version", CD_CONFIG_VERSION, "cluster", "name", st->name, "uuid",
			 uuid_json(st->uuid), "level", (json_int_t)st->level, "settings",
			 cd_settings_json(st), "nodes", sorted(nodes), "volumes", sorted(volumes), "vms",
			 sorted(vms));
}
