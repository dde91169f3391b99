/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `vm-set`, and `vm-create`: a VM's configuration as a client gives it, checked field by field, then what it names on
 * this node (kernel, initrd, disks that are not to be made, bridges) in a worker.  Whether the cluster takes it is the core's to say.
 */
#include "clusterd/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/check_linux.h"
#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/policy_jansson.h"
#include "clusterd/vm_mac.h"

static void copy(char *to, size_t cap_bytes, const char *from)
{
	snprintf(to, cap_bytes, "%s", from);
}

struct vm_create {
	struct cd_job job;
	struct cd *cd;
	struct cd_ipc_call *call;
	struct core_command *cmd;
	int rc;
	char error[1024];
};

static void vm_create_run(struct cd_job *job)
{
	struct vm_create *create = (struct vm_create *)job;
	const struct core_vm_config *vm = &create->cmd->vm;
	char path[CD_PATH_MAX];

	create->rc = cd_check_kernel(vm->kernel, create->error, sizeof(create->error));
	if (create->rc == 0 && vm->initrd[0])
		create->rc = cd_check_file(vm->initrd, "initrd", create->error,
					   sizeof(create->error));
	for (uint8_t i = 0; create->rc == 0 && i < vm->disk_count; i++) {
		if (vm->disks[i].size_bytes)
			continue; /* is made */
		cd_path(path, sizeof(path), CD_DIR_STORAGE, "%s/%s", create->cmd->volume_names[i],
			vm->disks[i].path);
		create->rc = cd_check_file(path, "disk", create->error, sizeof(create->error));
	}
	for (uint8_t i = 0; create->rc == 0 && i < vm->net_count; i++)
		create->rc = cd_check_bridge(vm->nets[i].network, create->error,
					     sizeof(create->error));
}

static void vm_create_done(struct cd_job *job)
{
	struct vm_create *create = (struct vm_create *)job;

	if (create->rc < 0)
		cd_ipc_reply_error(create->call, -create->rc, "%s", create->error);
	else
		cd_request_propose(create->cd, create->call, create->cmd);
	free(create->cmd);
	free(create);
}

static int mac_parse(const char *text, uint8_t out[6])
{
	unsigned b[6];
	char end;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 ||
	    strlen(text) != 17 || b[0] & 1)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++)
		out[i] = (uint8_t)b[i];
	return 0;
}

static int vm_disks_read(const struct cd *cd, const json_t *request, struct core_command *cmd,
			 char *error, size_t cap_bytes)
{
	const json_t *disks = json_object_get(request, "disks"), *disk;
	size_t i;

	if (json_array_size(disks) > CORE_DISKS_MAX) {
		snprintf(error, cap_bytes, "%zu disks: allowed up to %u", json_array_size(disks),
			 CORE_DISKS_MAX);
		return -EINVAL;
	}
	json_array_foreach(disks, i, disk) {
		const char *volume = cd_field_text(disk, "volume"), *path = cd_field_text(disk, "path");
		json_int_t size = json_integer_value(json_object_get(disk, "size"));
		struct core_disk *d = &cmd->vm.disks[i];
		char wrong[256];

		if (!cd_members_check(disk, "volume:s path:s size:i readonly:b", wrong,
				      sizeof(wrong))) {
			snprintf(error, cap_bytes, "disk %zu: %s", i, wrong);
			return -EINVAL;
		}
		if (!cl_name_valid(volume) || !core_volume_find(cd_state(cd), volume, NULL)) {
			snprintf(error, cap_bytes, "disk %zu: there is no volume '%.64s'", i, volume);
			return -ENOENT;
		}
		if (!cd_check_path_valid(path)) {
			snprintf(error, cap_bytes,
				 "disk %zu: path '%.80s': allowed is a path below the volume without"
				 " '..', up to %u bytes",
				 i, path, CORE_PATH_MAX - 1);
			return -EINVAL;
		}
		if (size < 0 || size % 4096 || size > (json_int_t)1 << 46) {
			snprintf(error, cap_bytes,
				 "disk %zu: size %lld: allowed are multiples of 4096 up to 64T", i,
				 (long long)size);
			return -EINVAL;
		}
		d->readonly = json_is_true(json_object_get(disk, "readonly"));
		if (d->readonly && (size || cd_state(cd)->level < CORE_LEVEL_CAUSES)) {
			snprintf(error, cap_bytes,
				 size ? "disk %zu: readonly: a disk that is made now is empty; "
					"allowed without size"
				      : "disk %zu: readonly: the cluster's functional level is too "
					"low",
				 i);
			return -EINVAL;
		}
		copy(d->path, sizeof(d->path), path);
		d->size_bytes = (uint64_t)size;
		copy(cmd->volume_names[i], CL_NAME_MAX, volume);
		cmd->vm.disk_count++;
	}
	return 0;
}

/* One that no VM has: names give 24 bits, which do not always differ. */
static void mac_free_make(const struct cd *cd, const char *vm, unsigned index, uint8_t out[6])
{
	for (unsigned try = 0; try < 16; try++) {
		cd_vm_mac_make(cd->self.uuid, vm, index + CORE_NETS_MAX * try, out);
		if (!core_mac_holder(cd_state(cd), out, vm))
			return;
	}
}

static int vm_nets_read(const struct cd *cd, const json_t *request, struct core_command *cmd,
			char *error, size_t cap_bytes)
{
	const json_t *nets = json_object_get(request, "nets"), *net;
	size_t i;

	if (json_array_size(nets) > CORE_NETS_MAX) {
		snprintf(error, cap_bytes, "%zu nets: allowed up to %u", json_array_size(nets),
			 CORE_NETS_MAX);
		return -EINVAL;
	}
	json_array_foreach(nets, i, net) {
		const char *name = cd_field_text(net, "switch"), *mac = cd_field_text(net, "mac");
		struct core_net *n = &cmd->vm.nets[i];
		char wrong[256];

		if (!cd_members_check(net, "switch:s mac:s", wrong, sizeof(wrong))) {
			snprintf(error, cap_bytes, "net %zu: %s", i, wrong);
			return -EINVAL;
		}
		if (!cl_name_valid(name) || strlen(name) > 15) {
			snprintf(error, cap_bytes,
				 "net %zu: switch '%.64s': expected the name of a bridge, up to 15"
				 " bytes",
				 i, name);
			return -EINVAL;
		}
		if (mac[0] && mac_parse(mac, n->mac) < 0) {
			snprintf(error, cap_bytes,
				 "net %zu: mac '%.40s': expected six hex bytes as 52:54:00:12:34:56,"
				 " not a group address",
				 i, mac);
			return -EINVAL;
		}
		if (!mac[0])
			mac_free_make(cd, cmd->vm.name, (unsigned)i, n->mac);
		copy(n->network, sizeof(n->network), name);
		cmd->vm.net_count++;
	}
	return 0;
}

static int vm_config_read(const struct cd *cd, const json_t *request, struct core_command *cmd,
			  char *error, size_t cap_bytes)
{
	json_int_t memory = json_integer_value(json_object_get(request, "memory_mib"));
	json_int_t cpus = json_integer_value(json_object_get(request, "cpus"));
	const char *kernel = cd_field_text(request, "kernel"), *initrd = cd_field_text(request, "initrd");
	const char *append = cd_field_text(request, "append");
	int rc;

	if (memory < 64 || memory > 1 << 20) {
		snprintf(error, cap_bytes, "memory %lld MiB: allowed 64 MiB to 1 TiB",
			 (long long)memory);
		return -EINVAL;
	}
	if (cpus < 1 || cpus > 4) {
		snprintf(error, cap_bytes, "cpus %lld: allowed 1 to 4", (long long)cpus);
		return -EINVAL;
	}
	if (kernel[0] != '/' || strlen(kernel) >= CORE_PATH_MAX ||
	    (initrd[0] && (initrd[0] != '/' || strlen(initrd) >= CORE_PATH_MAX))) {
		snprintf(error, cap_bytes,
			 "kernel and initrd: expected absolute paths of up to %u bytes",
			 CORE_PATH_MAX - 1);
		return -EINVAL;
	}
	if (strlen(append) >= CORE_APPEND_MAX) {
		snprintf(error, cap_bytes, "append: %zu bytes: allowed up to %u", strlen(append),
			 CORE_APPEND_MAX - 1);
		return -EINVAL;
	}
	cmd->vm.memory_mib = (uint32_t)memory;
	cmd->vm.cpus = (uint16_t)cpus;
	copy(cmd->vm.kernel, sizeof(cmd->vm.kernel), kernel);
	copy(cmd->vm.initrd, sizeof(cmd->vm.initrd), initrd);
	copy(cmd->vm.append, sizeof(cmd->vm.append), append);
	cd_pki_random(cmd->vm.uuid, sizeof(cmd->vm.uuid));
	rc = vm_disks_read(cd, request, cmd, error, cap_bytes);
	if (rc == 0)
		rc = vm_nets_read(cd, request, cmd, error, cap_bytes);
	return rc < 0 ? rc :
			cd_policy_read(cd_state(cd), json_object_get(request, "policy"),
				       &cmd->policy, &cmd->set, error, cap_bytes);
}

void cd_request_vm_create(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = cd_request_name(call, request, "name");
	struct vm_create *create;
	int rc;

	if (!name)
		return;
	/* Whether there is one of this name the log says: what this node has applied may be of the past. */
	create = calloc(1, sizeof(*create));
	if (!create)
		abort();
	create->job = (struct cd_job){ .run = vm_create_run, .done = vm_create_done };
	create->cd = cd;
	create->call = call;
	create->cmd = cd_request_command(CORE_CMD_VM_CREATE);
	copy(create->cmd->name, sizeof(create->cmd->name), name);
	copy(create->cmd->vm.name, sizeof(create->cmd->vm.name), name);
	rc = vm_config_read(cd, request, create->cmd, create->error, sizeof(create->error));
	if (rc < 0) {
		cd_ipc_reply_error(call, -rc, "%s", create->error);
		free(create->cmd);
		free(create);
		return;
	}
	cd_pool_submit(cd->work, &create->job);
}

void cd_request_vm_set(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = cd_request_name(call, request, "name");
	struct core_command *cmd;
	char error[512];
	int rc;

	if (!name)
		return;
	cmd = cd_request_command(CORE_CMD_VM_SET);
	copy(cmd->name, sizeof(cmd->name), name);
	rc = cd_policy_read(cd_state(cd), json_object_get(request, "policy"), &cmd->policy, &cmd->set,
			    error, sizeof(error));
	if (rc < 0)
		cd_ipc_reply_error(call, -rc, "vm %s: %s", name, error);
	else if (!cmd->set)
		cd_ipc_reply_error(call, EINVAL, "vm %s: policy: nothing to set", name);
	else
		cd_request_propose(cd, call, cmd);
	free(cmd);
}
