/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a configuration.  See config_jansson.h; a mistake does not hide the next one. */
#include "clusterd/config_jansson.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/check_linux.h"
#include "clusterd/field_jansson.h"
#include "clusterd/node_file_jansson.h"
#include "clusterd/policy_jansson.h"
#include "clusterd/settings_jansson.h"

struct reading {
	struct cd_config *config;
	const struct core_state *cluster;
	bool nodes, volumes; /* the document has these lists */
};

void cd_config_problem(struct cd_config *config, const char *path, const char *format, ...)
{
	struct cd_config_problem *problem;
	va_list ap;

	if (config->problem_count == CD_CONFIG_PROBLEMS_MAX)
		return;
	problem = &config->problems[config->problem_count++];
	snprintf(problem->path, sizeof(problem->path), "%s", path);
	va_start(ap, format);
	vsnprintf(problem->text, sizeof(problem->text), format, ap);
	va_end(ap);
}

/* "vms[3]" and "name" give "vms[3].name". */
static void join(char out[128], const char *base, const char *key)
{
	snprintf(out, 128, "%.90s%s%.36s", base, base[0] ? "." : "", key);
}

static void seen(const json_t *value, char out[64])
{
	char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	snprintf(out, 64, "%.56s%s", text ? text : "nothing", text && strlen(text) > 56 ? "..." : "");
	free(text);
}

static void wrong(struct reading *r, const char *base, const char *key, const json_t *value,
		  const char *allowed)
{
	char path[128], text[64];

	join(path, base, key);
	seen(value, text);
	cd_config_problem(r->config, value ? path : base, "%s: %s: allowed %s", key, text, allowed);
}

/* Every member is one of those named (a list with spaces around each name). */
static bool members_known(struct reading *r, const json_t *object, const char *base,
			  const char *names)
{
	const json_t *value;
	const char *key;
	bool good = true;

	if (!json_is_object(object)) {
		char text[64];

		seen(object, text);
		cd_config_problem(r->config, base, "%s: an object is expected", text);
		return false;
	}
	json_object_foreach((json_t *)object, key, value) {
		char word[48], path[128];
		bool plain = strlen(key) < 40;

		for (const char *p = key; *p; p++)
			plain &= isalnum((unsigned char)*p) || *p == '_' || *p == '-';
		snprintf(word, sizeof(word), " %.40s ", key);
		if (plain && strstr(names, word))
			continue;
		join(path, base, key);
		cd_config_problem(r->config, plain ? path : base, "'%.40s' is not known here: allowed%s",
				  key, names);
		good = false;
	}
	return good;
}

static const char *text_get(struct reading *r, const json_t *object, const char *base,
			    const char *key, bool needed, size_t cap_bytes)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	char allowed[64];

	if (!value && !needed)
		return "";
	if (text && strlen(text) < cap_bytes && (text[0] || !needed))
		return text;
	snprintf(allowed, sizeof(allowed), "text of %s%zu bytes", needed ? "1 to " : "up to ",
		 cap_bytes - 1);
	wrong(r, base, key, value, allowed);
	return "";
}

static const char *name_get(struct reading *r, const json_t *object, const char *base,
			    const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (cl_name_valid(json_string_value(value) ? json_string_value(value) : ""))
		return json_string_value(value);
	wrong(r, base, key, value, "1 to 63 of A-Z a-z 0-9 . _ - after a letter or digit");
	return "";
}

static json_int_t number_get(struct reading *r, const json_t *object, const char *base,
			     const char *key, bool needed, json_int_t min, json_int_t max)
{
	const json_t *value = json_object_get(object, key);
	json_int_t n = json_integer_value(value);
	char allowed[64];

	if (!value && !needed)
		return 0;
	if (json_is_integer(value) && n >= min && n <= max)
		return n;
	snprintf(allowed, sizeof(allowed), "%lld to %lld", (long long)min, (long long)max);
	wrong(r, base, key, value, allowed);
	return 0;
}

static bool uuid_get(struct reading *r, const json_t *object, const char *base, uint8_t *out)
{
	const json_t *value = json_object_get(object, "uuid");

	if (!value)
		return false;
	if (json_is_string(value) && cd_uuid_parse(json_string_value(value), out) == 0)
		return true;
	wrong(r, base, "uuid", value, "a UUID, as 123e4567-e89b-12d3-a456-426614174000");
	return false;
}

/* The list of that name, or NULL; *ret_there. */
static const json_t *list_get(struct reading *r, const json_t *object, const char *base,
			      const char *key, size_t max)
{
	const json_t *list = json_object_get(object, key);
	char allowed[48];

	if (!list)
		return NULL;
	if (json_is_array(list) && json_array_size(list) <= max)
		return list;
	snprintf(allowed, sizeof(allowed), "a list of up to %zu", max);
	wrong(r, base, key, list, allowed);
	return NULL;
}

/* ---- cluster, nodes, volumes ---------------------------------------------------------------- */

static void cluster_read(struct reading *r, const json_t *cluster)
{
	const json_t *sets = json_object_get(cluster, "settings");
	struct cd_config *c = r->config;
	char error[400], path[128];
	const char *key;

	if (!members_known(r, cluster, "cluster", " name uuid level settings "))
		return;
	if (json_object_get(cluster, "name"))
		snprintf(c->cluster, sizeof(c->cluster), "%s",
			 name_get(r, cluster, "cluster", "name"));
	c->has_uuid = uuid_get(r, cluster, "cluster", c->uuid);
	number_get(r, cluster, "cluster", "level", false, 1, CORE_LEVEL);
	if (!sets)
		return;
	if (!json_is_object(sets)) {
		wrong(r, "cluster", "settings", sets, "an object");
		return;
	}
	if (cd_settings_read(sets, c->settings, &key, error, sizeof(error)) < 0) {
		join(path, "cluster.settings", key);
		cd_config_problem(c, path, "%s", error);
		return;
	}
	/* Together with what is not named: the defaults, or the cluster's. */
	if (core_settings_check(r->cluster ? r->cluster : c->named, c->settings->sets,
				c->settings->set_count, error, sizeof(error)))
		cd_config_problem(c, "cluster.settings", "%s", error);
}

static void nodes_read(struct reading *r, const json_t *nodes)
{
	struct core_state *st = r->config->named;
	const json_t *node;
	size_t i;

	json_array_foreach(nodes, i, node) {
		struct core_node *n = &st->nodes[i + 1];
		char base[128];
		const char *name;

		snprintf(base, sizeof(base), "nodes[%zu]", i);
		if (!members_known(r, node, base, " name id address vm_address "))
			continue;
		name = name_get(r, node, base, "name");
		number_get(r, node, base, "id", false, 1, CL_NODES_MAX);
		if (name[0] && core_node_find(st, name))
			cd_config_problem(r->config, base, "node %s is named twice", name);
		n->state = CORE_NODE_NEW;
		n->id = (uint8_t)(i + 1);
		snprintf(n->name, sizeof(n->name), "%s", name);
		snprintf(n->address, sizeof(n->address), "%s",
			 text_get(r, node, base, "address", false, sizeof(n->address)));
		text_get(r, node, base, "vm_address", false, sizeof(n->vm_address));
		if (n->address[0] && !cd_address_valid(n->address))
			wrong(r, base, "address", json_object_get(node, "address"),
			      "a numeric IP address");
		r->config->n_nodes++;
	}
}

static void volumes_read(struct reading *r, const json_t *volumes)
{
	struct core_state *st = r->config->named;
	const json_t *volume;
	uint8_t uuid[CL_UUID_BYTES];
	size_t i;

	json_array_foreach(volumes, i, volume) {
		struct core_volume *v = &st->volumes[i];
		char base[128];
		const char *name;

		snprintf(base, sizeof(base), "volumes[%zu]", i);
		memset(v, 0, sizeof(*v));
		st->volume_count = (uint16_t)(i + 1);
		if (!members_known(r, volume, base, " name uuid lun size "))
			continue;
		name = name_get(r, volume, base, "name");
		uuid_get(r, volume, base, uuid);
		number_get(r, volume, base, "size", false, 0, (json_int_t)1 << 60);
		if (name[0] && core_volume_find(st, name, NULL))
			cd_config_problem(r->config, base, "volume %s is named twice", name);
		v->state = CORE_VOLUME_ACTIVE;
		snprintf(v->name, sizeof(v->name), "%s", name);
		snprintf(v->lun, sizeof(v->lun), "%s",
			 text_get(r, volume, base, "lun", true, sizeof(v->lun)));
		for (size_t k = 0; k < i; k++)
			if (v->lun[0] && strcmp(st->volumes[k].lun, v->lun) == 0)
				cd_config_problem(r->config, base, "LUN %s is volume %s already", v->lun,
						  st->volumes[k].name);
		r->config->n_volumes++;
	}
}

/* ---- VMs ------------------------------------------------------------------------------------ */

static void disks_read(struct reading *r, const json_t *vm, const char *base,
		       struct cd_config_vm *out)
{
	const struct core_state *st = r->volumes ? r->config->named : r->cluster;
	const json_t *disk;
	size_t i;

	json_array_foreach(list_get(r, vm, base, "disks", CORE_DISKS_MAX), i, disk) {
		struct core_disk *d = &out->config.disks[i];
		char at[128];

		snprintf(at, sizeof(at), "%.90s.disks[%zu]", base, i);
		if (!members_known(r, disk, at, " volume path size readonly "))
			continue;
		snprintf(out->volume_names[i], CL_NAME_MAX, "%s", name_get(r, disk, at, "volume"));
		if (out->volume_names[i][0] && st && !core_volume_find(st, out->volume_names[i], NULL))
			wrong(r, at, "volume", json_object_get(disk, "volume"), "the name of a volume");
		snprintf(d->path, sizeof(d->path), "%s",
			 text_get(r, disk, at, "path", true, sizeof(d->path)));
		if (d->path[0] && !cd_check_path_valid(d->path))
			wrong(r, at, "path", json_object_get(disk, "path"),
			      "a path below the volume without '..', not below .holdfast");
		d->size_bytes = (uint64_t)number_get(r, disk, at, "size", false, 0, (json_int_t)1 << 46);
		if (d->size_bytes % 4096)
			wrong(r, at, "size", json_object_get(disk, "size"), "multiples of 4096");
		if (json_object_get(disk, "readonly") &&
		    !json_is_boolean(json_object_get(disk, "readonly")))
			wrong(r, at, "readonly", json_object_get(disk, "readonly"),
			      "true or false");
		d->readonly = json_is_true(json_object_get(disk, "readonly"));
		if (d->readonly && (d->size_bytes || (st && st->level < CORE_LEVEL_CAUSES)))
			wrong(r, at, "readonly", json_object_get(disk, "readonly"),
			      "true only without a size, from functional level 3 on");
		out->config.disk_count = (uint8_t)(i + 1);
	}
}

static bool mac_read(const char *text, uint8_t out[6])
{
	unsigned b[6];
	char end;

	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3],
					 &b[4], &b[5], &end) != 6)
		return false;
	for (unsigned i = 0; i < 6; i++)
		out[i] = (uint8_t)b[i];
	return !(b[0] & 1);
}

static void nets_read(struct reading *r, const json_t *vm, const char *base,
		      struct cd_config_vm *out)
{
	const json_t *net;
	size_t i;

	json_array_foreach(list_get(r, vm, base, "nets", CORE_NETS_MAX), i, net) {
		struct core_net *n = &out->config.nets[i];
		const char *mac;
		char at[128];

		snprintf(at, sizeof(at), "%.90s.nets[%zu]", base, i);
		if (!members_known(r, net, at, " switch mac "))
			continue;
		snprintf(n->network, sizeof(n->network), "%s", name_get(r, net, at, "switch"));
		if (strlen(n->network) > 15)
			wrong(r, at, "switch", json_object_get(net, "switch"),
			      "the name of a bridge, up to 15 bytes");
		mac = text_get(r, net, at, "mac", false, 18);
		out->has_mac[i] = mac[0] != '\0';
		if (mac[0] && !mac_read(mac, n->mac))
			wrong(r, at, "mac", json_object_get(net, "mac"),
			      "six hex bytes as 52:54:00:12:34:56, not a group address");
		out->config.net_count = (uint8_t)(i + 1);
	}
}

static void path_get(struct reading *r, const json_t *vm, const char *base, const char *key,
		     bool needed, char out[CORE_PATH_MAX])
{
	const char *text = text_get(r, vm, base, key, needed, CORE_PATH_MAX);

	if (text[0] && text[0] != '/')
		wrong(r, base, key, json_object_get(vm, key), "an absolute path");
	snprintf(out, CORE_PATH_MAX, "%s", text);
}

static void vm_read(struct reading *r, const json_t *vm, const char *base, struct cd_config_vm *out)
{
	const struct core_state *st = r->cluster ? r->cluster : r->config->named;
	const json_t *policy = json_object_get(vm, "policy");
	struct core_vm_config *c = &out->config;
	char error[400], path[128];

	if (!members_known(r, vm, base,
			   " name uuid memory_mib cpus kernel initrd append disks nets policy "))
		return;
	snprintf(c->name, sizeof(c->name), "%s", name_get(r, vm, base, "name"));
	out->has_uuid = uuid_get(r, vm, base, c->uuid);
	c->memory_mib = (uint32_t)number_get(r, vm, base, "memory_mib", true, 64, 1 << 20);
	c->cpus = (uint16_t)number_get(r, vm, base, "cpus", true, 1, 4);
	path_get(r, vm, base, "kernel", true, c->kernel);
	path_get(r, vm, base, "initrd", false, c->initrd);
	snprintf(c->append, sizeof(c->append), "%s",
		 text_get(r, vm, base, "append", false, sizeof(c->append)));
	disks_read(r, vm, base, out);
	nets_read(r, vm, base, out);
	if (policy && cd_policy_read(st, policy, &out->policy, &out->policy_set, error,
				     sizeof(error)) < 0) {
		join(path, base, "policy");
		cd_config_problem(r->config, path, "%s", error);
	}
}

static int by_name(const void *a, const void *b)
{
	const struct cd_config_vm *x = a, *y = b;

	return strcmp(x->config.name, y->config.name);
}

/* After sorting: names and disks that are there twice. */
static void vms_compare(struct reading *r)
{
	struct cd_config *c = r->config;
	char base[128];

	for (unsigned i = 1; i < c->n_vms; i++) {
		const struct cd_config_vm *vm = &c->vms[i];

		snprintf(base, sizeof(base), "vms[%u].name", vm->index);
		if (vm->config.name[0] && strcmp(c->vms[i - 1].config.name, vm->config.name) == 0)
			cd_config_problem(c, base, "VM %s is named twice", vm->config.name);
	}
	for (unsigned i = 0; i < c->n_vms; i++)
		for (unsigned d = 0; d < c->vms[i].config.disk_count; d++)
			for (unsigned k = 0; k <= i; k++)
				for (unsigned e = 0; e < (k == i ? d : c->vms[k].config.disk_count); e++) {
					const struct cd_config_vm *a = &c->vms[i], *b = &c->vms[k];

					if (!a->config.disks[d].path[0] ||
					    strcmp(a->config.disks[d].path, b->config.disks[e].path) ||
					    strcmp(a->volume_names[d], b->volume_names[e]))
						continue;
					snprintf(base, sizeof(base), "vms[%u].disks[%u]", a->index, d);
					cd_config_problem(c, base, "disk %s/%.200s belongs to VM %s too",
							  a->volume_names[d], a->config.disks[d].path,
							  b->config.name);
				}
}

static void vms_read(struct reading *r, const json_t *vms)
{
	struct cd_config *c = r->config;
	const json_t *vm;
	size_t i;

	c->vms = calloc(json_array_size(vms) + 1, sizeof(*c->vms));
	if (!c->vms)
		abort();
	json_array_foreach(vms, i, vm) {
		char base[128];

		snprintf(base, sizeof(base), "vms[%zu]", i);
		c->vms[i].index = (unsigned)i;
		vm_read(r, vm, base, &c->vms[i]);
		c->n_vms++;
	}
	qsort(c->vms, c->n_vms, sizeof(*c->vms), by_name);
	vms_compare(r);
}

struct cd_config *cd_config_read(const json_t *root, const struct core_state *cluster)
{
	struct cd_config *c = calloc(1, sizeof(*c));
	struct reading r = { .config = c, .cluster = cluster };
	const json_t *list;

	if (!c || !(c->named = calloc(1, sizeof(*c->named))) ||
	    !(c->settings = calloc(1, sizeof(*c->settings))))
		abort();
	core_state_init(c->named);
	core_settings_init(c->named);
	c->settings->kind = CORE_CMD_CLUSTER_SET;
	if (!members_known(&r, root, "", " format version cluster nodes volumes vms "))
		return c;
	if (strcmp(cd_field_text(root, "format"), CD_CONFIG_FORMAT) != 0)
		wrong(&r, "", "format", json_object_get(root, "format"), "\"" CD_CONFIG_FORMAT "\"");
	number_get(&r, root, "", "version", true, CD_CONFIG_VERSION, CD_CONFIG_VERSION);
	list = list_get(&r, root, "", "nodes", CL_NODES_MAX);
	r.nodes = list != NULL;
	nodes_read(&r, list);
	list = list_get(&r, root, "", "volumes", CORE_VOLUMES_MAX);
	r.volumes = list != NULL;
	volumes_read(&r, list);
	if (json_object_get(root, "cluster"))
		cluster_read(&r, json_object_get(root, "cluster"));
	list = list_get(&r, root, "", "vms", CORE_VMS_MAX);
	vms_read(&r, list);
	return c;
}

void cd_config_free(struct cd_config *config)
{
	if (!config)
		return;
	free(config->vms);
	free(config->named);
	free(config->settings);
	free(config);
}
