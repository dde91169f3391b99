/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `config-export` and `config-import`.  An import is read whole, compared with the cluster, tried on a copy of the
 * state (all in a worker), and only then proposed: as one batch, which the core takes whole or not at all.  It
 * makes and changes VMs and settings; it removes nothing, and it cannot make nodes or volumes.
 */
#include "clusterd/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/config_jansson.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/policy_jansson.h"
#include "clusterd/vm_mac.h"

#define PART_MS 30000u

struct import {
	struct cd_job job;
	struct cd *cd;
	struct cd_ipc_call *call;
	json_t *root;
	bool plan;
	struct core_state before, copy;
	struct core_command one, scratch;
	struct cd_config *config;
	json_t *changes; /* lines for people */
	unsigned created, changed, policies, set;
	uint32_t len_bytes, sent_bytes;
	uint64_t id;
	bool too_big;
	uint8_t bytes[CORE_BATCH_MAX];
};

static void import_free(struct import *im)
{
	json_decref(im->root);
	json_decref(im->changes);
	cd_config_free(im->config);
	free(im);
}

static void change(struct import *im, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void change(struct import *im, const char *format, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	json_array_append_new(im->changes, json_string(text));
}

/* Tries it on the copy and puts it into the batch; a refusal is a problem at path. */
static bool take(struct import *im, const struct core_command *cmd, const char *path)
{
	uint8_t bytes[6144];
	struct core_answer answer;
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	if (len < 0 || im->len_bytes + 2 + (uint32_t)len > sizeof(im->bytes)) {
		if (!im->too_big)
			cd_config_problem(im->config, path,
					  "too much for one import: the changes are bigger than %zu KiB",
					  sizeof(im->bytes) >> 10);
		im->too_big = true;
		return false;
	}
	core_apply(&im->copy, im->copy.applied_seq + 1, bytes, (size_t)len, &im->scratch, &answer);
	if (answer.err) {
		cd_config_problem(im->config, path, "%s", answer.text);
		return false;
	}
	im->bytes[im->len_bytes] = (uint8_t)len;
	im->bytes[im->len_bytes + 1] = (uint8_t)(len >> 8);
	memcpy(im->bytes + im->len_bytes + 2, bytes, (size_t)len);
	im->len_bytes += 2 + (uint32_t)len;
	return true;
}

static struct core_command *fresh(struct import *im, uint8_t kind)
{
	memset(&im->one, 0, sizeof(im->one));
	im->one.kind = kind;
	return &im->one;
}

/* ---- what the cluster has already ----------------------------------------------------------- */

static void same_cluster(struct import *im)
{
	const struct core_state *st = &im->before, *named = im->config->named;
	char path[64];

	if (im->config->cluster[0] && strcmp(im->config->cluster, st->name) != 0)
		cd_config_problem(im->config, "cluster.name", "the file is of cluster %s, this is %s",
				  im->config->cluster, st->name);
	if (im->config->has_uuid && memcmp(im->config->uuid, st->uuid, sizeof(st->uuid)) != 0)
		cd_config_problem(im->config, "cluster.uuid",
				  "the file is of another cluster of this name");
	for (unsigned i = 0; i < im->config->n_nodes && i < CL_NODES_MAX; i++) {
		const struct core_node *want = &named->nodes[i + 1], *n;

		if (!want->name[0])
			continue;
		n = core_node_find(st, want->name);
		snprintf(path, sizeof(path), "nodes[%u]", i);
		if (!n)
			cd_config_problem(im->config, path,
					  "node %s is not in the cluster: a node comes in by `clusterctl"
					  " cluster join`, not by an import",
					  want->name);
		else if (want->address[0] && strcmp(want->address, n->address) != 0)
			cd_config_problem(im->config, path,
					  "node %s: address %s in the file, %s in the cluster: an import"
					  " cannot move a node",
					  want->name, want->address, n->address);
	}
	for (unsigned i = 0; i < named->volume_count; i++) {
		const struct core_volume *want = &named->volumes[i], *v;

		if (!want->name[0])
			continue;
		v = core_volume_find(st, want->name, NULL);
		snprintf(path, sizeof(path), "volumes[%u]", i);
		if (!v)
			cd_config_problem(im->config, path,
					  "volume %s is not in the cluster: `clusterctl volume add` makes"
					  " it (and its LUN empty), not an import",
					  want->name);
		else if (strcmp(v->lun, want->lun) != 0)
			cd_config_problem(im->config, path,
					  "volume %s: LUN %s in the file, %s in the cluster", want->name,
					  want->lun, v->lun);
	}
}

static void settings_compare(struct import *im)
{
	const struct core_command *wanted = im->config->settings;
	struct core_command *cmd = fresh(im, CORE_CMD_CLUSTER_SET);

	for (uint8_t i = 0; i < wanted->set_count; i++) {
		unsigned setting = wanted->sets[i].setting;

		if (core_setting_get(&im->before, setting) == wanted->sets[i].value)
			continue;
		change(im, "cluster: %s %u -> %u", core_settings[setting].name,
		       core_setting_get(&im->before, setting), wanted->sets[i].value);
		cmd->sets[cmd->set_count++] = wanted->sets[i];
	}
	im->set = cmd->set_count;
	if (cmd->set_count)
		take(im, cmd, "cluster.settings");
}

static void vm_command(struct import *im, uint8_t kind, const struct cd_config_vm *vm)
{
	struct core_command *cmd = fresh(im, kind);

	snprintf(cmd->name, sizeof(cmd->name), "%s", vm->config.name);
	cmd->vm = vm->config;
	memcpy(cmd->volume_names, vm->volume_names, sizeof(cmd->volume_names));
}

static void vm_create(struct import *im, const struct cd_config_vm *vm, const char *path)
{
	struct core_command *cmd = &im->one;

	vm_command(im, CORE_CMD_VM_CREATE, vm);
	cmd->adopt = true;
	cmd->policy = vm->policy;
	cmd->set = vm->policy_set;
	if (!vm->has_uuid)
		cd_pki_random(cmd->vm.uuid, sizeof(cmd->vm.uuid));
	for (uint8_t i = 0; i < cmd->vm.net_count; i++)
		if (!vm->has_mac[i])
			cd_vm_mac_make(im->before.uuid, cmd->vm.name, i, cmd->vm.nets[i].mac);
	if (take(im, cmd, path)) {
		im->created++;
		change(im, "vm %s: created", vm->config.name);
	}
}

/* "memory_mib 512 -> 1024, cpus 1 -> 2" or "" if nothing of the machine differs. */
static void machine_compare(const struct core_vm_config *have, const struct cd_config_vm *vm, char *out,
			    size_t cap_bytes)
{
	const struct core_vm_config *want = &vm->config;
	bool nets = have->net_count != want->net_count;
	size_t len = 0;

	out[0] = '\0';
	for (uint8_t i = 0; !nets && i < want->net_count; i++)
		nets = strcmp(have->nets[i].network, want->nets[i].network) != 0 ||
		       (vm->has_mac[i] && memcmp(have->nets[i].mac, want->nets[i].mac, 6) != 0);
#define PUT(differs, ...)                                                                          \
	do {                                                                                       \
		if ((differs) && len < cap_bytes)                                                  \
			len += (size_t)snprintf(out + len, cap_bytes - len, "%s", len ? ", " : ""); \
		if ((differs) && len < cap_bytes)                                                  \
			len += (size_t)snprintf(out + len, cap_bytes - len, __VA_ARGS__);          \
	} while (0)
	PUT(have->memory_mib != want->memory_mib, "memory_mib %u -> %u", have->memory_mib,
	    want->memory_mib);
	PUT(have->cpus != want->cpus, "cpus %u -> %u", have->cpus, want->cpus);
	PUT(strcmp(have->kernel, want->kernel) != 0, "kernel %.100s -> %.100s", have->kernel,
	    want->kernel);
	PUT(strcmp(have->initrd, want->initrd) != 0, "initrd %.100s -> %.100s", have->initrd,
	    want->initrd);
	PUT(strcmp(have->append, want->append) != 0, "append");
	PUT(nets, "nets");
	PUT(have->disk_count != want->disk_count, "disks");
#undef PUT
}

static bool disks_same(const struct core_state *st, const struct core_vm_config *have,
		       const struct cd_config_vm *vm)
{
	for (uint8_t i = 0; i < have->disk_count && i < vm->config.disk_count; i++) {
		uint16_t v = have->disks[i].volume;

		if (v >= st->volume_count || strcmp(st->volumes[v].name, vm->volume_names[i]) != 0 ||
		    strcmp(have->disks[i].path, vm->config.disks[i].path) != 0 ||
		    have->disks[i].size_bytes != vm->config.disks[i].size_bytes ||
		    have->disks[i].readonly != vm->config.disks[i].readonly)
			return false;
	}
	return have->disk_count == vm->config.disk_count;
}

static void vm_change(struct import *im, const struct core_vm *have, const struct cd_config_vm *vm,
		      const char *path)
{
	json_t *old = cd_policy_json(&im->before, &have->policy), *new;
	struct core_command *cmd = &im->one;
	struct core_vm *after;
	char text[480];

	machine_compare(&have->config, vm, text, sizeof(text));
	if (text[0] || !disks_same(&im->before, &have->config, vm)) {
		vm_command(im, CORE_CMD_VM_CHANGE, vm);
		for (uint8_t i = 0; i < cmd->vm.net_count; i++)
			if (!vm->has_mac[i] && i < have->config.net_count)
				memcpy(cmd->vm.nets[i].mac, have->config.nets[i].mac, 6);
			else if (!vm->has_mac[i])
				cd_vm_mac_make(im->before.uuid, cmd->vm.name, i, cmd->vm.nets[i].mac);
		if (take(im, cmd, path)) {
			im->changed++;
			change(im, "vm %s: %s", vm->config.name, text);
		}
	}
	if (!vm->policy_set) {
		json_decref(old);
		return;
	}
	/* Whether a policy differs is seen from what it would be. */
	after = (struct core_vm *)core_vm_find(&im->copy, vm->config.name, NULL);
	cmd = fresh(im, CORE_CMD_VM_SET);
	snprintf(cmd->name, sizeof(cmd->name), "%s", vm->config.name);
	cmd->policy = vm->policy;
	cmd->set = vm->policy_set;
	{
		uint32_t len = im->len_bytes;

		if (after && take(im, cmd, path)) {
			new = cd_policy_json(&im->copy, &after->policy);
			if (json_equal(old, new)) {
				im->len_bytes = len; /* nothing would change */
			} else {
				im->policies++;
				change(im, "vm %s: policy", vm->config.name);
			}
			json_decref(new);
		}
	}
	json_decref(old);
}

static void import_run(struct cd_job *job)
{
	struct import *im = (struct import *)job;
	char path[32];

	im->copy = im->before;
	im->config = cd_config_read(im->root, &im->before);
	if (im->config->problem_count)
		return;
	same_cluster(im);
	settings_compare(im);
	for (unsigned i = 0; i < im->config->n_vms && !im->too_big; i++) {
		const struct cd_config_vm *vm = &im->config->vms[i];
		const struct core_vm *have = core_vm_find(&im->before, vm->config.name, NULL);

		snprintf(path, sizeof(path), "vms[%u]", vm->index);
		if (have)
			vm_change(im, have, vm, path);
		else
			vm_create(im, vm, path);
	}
}

/* ---- proposing ------------------------------------------------------------------------------ */

static json_t *problems_json(const struct cd_config *config)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < config->problem_count; i++)
		json_array_append_new(list, json_pack("{s:s s:s}", "path", config->problems[i].path,
						      "text", config->problems[i].text));
	return list;
}

static void import_reply(struct import *im, const char *state)
{
	char text[200];

	snprintf(text, sizeof(text), "%u VMs created, %u changed, %u policies and %u settings set",
		 im->created, im->changed, im->policies, im->set);
	cd_ipc_reply(im->call, json_pack("{s:b s:s s:s s:O s:o}", "ok", 1, "state", state, "text", text,
					 "changes", im->changes, "problems",
					 problems_json(im->config)));
	import_free(im);
}

static void import_next(struct import *im);

static void import_answer(struct cd *cd, void *arg, int err, const struct core_answer *answer)
{
	struct import *im = arg;

	if (err || (answer && answer->err)) {
		int code = answer && answer->err ? -answer->err : -err;

		cd_ipc_reply_error(im->call, code, "%s%s",
				   answer && answer->text[0] ? answer->text : strerror(code),
				   im->sent_bytes > im->len_bytes && code == ETIMEDOUT ?
					   "; whether it took effect is not known" :
					   "");
		import_free(im);
		return;
	}
	if (im->sent_bytes > im->len_bytes)
		import_reply(im, "done");
	else
		import_next(im);
}

/* The next part, or the end; sent_bytes > len_bytes: all of it is out. */
static void import_next(struct import *im)
{
	uint32_t left = im->len_bytes - im->sent_bytes;
	struct core_command *cmd;

	if (left) {
		cmd = fresh(im, CORE_CMD_BATCH_PART);
		cmd->batch = im->id;
		cmd->offset = im->sent_bytes;
		cmd->part_len = (uint16_t)(left < CORE_PART_MAX ? left : CORE_PART_MAX);
		memcpy(cmd->part, im->bytes + im->sent_bytes, cmd->part_len);
		im->sent_bytes += cmd->part_len;
	} else {
		cmd = fresh(im, CORE_CMD_BATCH_APPLY);
		cmd->batch = im->id;
		cmd->offset = im->len_bytes;
		im->sent_bytes = im->len_bytes + 1;
	}
	cd_drive_command(im->cd, cmd, PART_MS, import_answer, im);
}

static void import_done(struct cd_job *job)
{
	struct import *im = (struct import *)job;

	if (im->config->problem_count || im->plan || !im->len_bytes) {
		import_reply(im, im->config->problem_count ? "refused" :
				 im->len_bytes		   ? "plan" :
							     "done");
		return;
	}
	if (!log_is_open(&im->cd->replica->log) && !im->cd->votes.quorate) {
		cd_ipc_reply_error(im->call, ENOLINK, "no quorum; nothing was changed");
		import_free(im);
		return;
	}
	import_next(im);
}

void cd_request_config_import(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	struct import *im = calloc(1, sizeof(*im));

	if (!im)
		abort();
	im->job = (struct cd_job){ .run = import_run, .done = import_done };
	im->cd = cd;
	im->call = call;
	im->root = json_incref(json_object_get(request, "config"));
	im->plan = json_is_true(json_object_get(request, "plan"));
	im->before = *cd_state(cd);
	im->changes = json_array();
	cd_pki_random(&im->id, sizeof(im->id));
	im->id |= 1;
	cd_pool_submit(cd->work, &im->job);
}

void cd_request_config_export(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	cd_ipc_reply(call, json_pack("{s:b s:o}", "ok", 1, "config", cd_config_write(cd_state(cd))));
}
