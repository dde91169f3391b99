/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the local service (docs/formats/ipc.md): checks what a client
 * says, proposes commands, answers questions from the replicated state.  Nothing here trusts that
 * clusterctl checked first.
 */
#include "clusterd/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clusterd/check_linux.h"
#include "clusterd/luns_scsi3pr.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_log.h"

#define WAIT_MAX_MS 60000u
#define COMMAND_MS  100000u
#define EVENTS_MAX  200u

/* ---- reading a request ---------------------------------------------------------------------- */

static const char *text_of(const json_t *request, const char *key)
{
	const char *text = json_string_value(json_object_get(request, key));

	return text ? text : "";
}

/* The named member as a name; answers the client and returns NULL if it is not one. */
static const char *name_of(struct cd_ipc_call *call, const json_t *request, const char *key)
{
	const char *name = text_of(request, key);

	if (cl_name_valid(name))
		return name;
	cd_ipc_reply_error(call, EINVAL,
			   "%s '%.80s': allowed are 1 to 63 of A-Z a-z 0-9 . _ - after a letter or digit",
			   key, name);
	return NULL;
}

static void copy(char *to, size_t cap_bytes, const char *from)
{
	snprintf(to, cap_bytes, "%s", from);
}

/* ---- commands ------------------------------------------------------------------------------- */

/* The sentence for a command that found no quorum. */
static void quorum_text(const struct cd *cd, const char *outcome, char *out, size_t cap_bytes)
{
	char names[512] = "";
	size_t len = 0;

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &cd->replica->st.nodes[id];

		if (n->state == CORE_NODE_UNUSED || cd->ring_nodes & CORE_NODE_BIT(id))
			continue;
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "",
					n->name);
		if (len >= sizeof(names))
			break;
	}
	if (!cd->link_up)
		snprintf(out, cap_bytes, "no quorum: corosync does not run on this node");
	else if (cd->votes.quorate)
		snprintf(out, cap_bytes,
			 "the cluster has quorum but its log is not open (%s): the nodes did not agree"
			 " in time%s",
			 log_state_name(cd->replica->log.state), outcome);
	else
		snprintf(out, cap_bytes,
			 "no quorum: %u of %u votes are here, %u are needed%s%s%s",
			 cd->votes.total, cd->votes.expected, cd->votes.needed,
			 names[0] ? "; not seen: " : "", names, outcome);
}


static void command_answer(struct cd *cd, void *arg, int err, const struct core_answer *answer)
{
	struct cd_ipc_call *call = arg;
	char text[1024];

	if (err == 0) {
		cd_ipc_reply(call, json_pack("{s:b s:I s:s s:s}", "ok", 1, "job",
					     (json_int_t)answer->job, "state",
					     answer->job ? "running" : "done", "text",
					     answer->text));
		return;
	}
	if (answer) {
		cd_ipc_reply_error(call, -answer->err, "%s",
				   answer->text[0] ? answer->text : strerror(-answer->err));
		return;
	}
	if (err == -ETIMEDOUT && !log_is_open(&cd->replica->log)) {
		quorum_text(cd, "; whether the command takes effect later is not known", text,
			    sizeof(text));
		cd_ipc_reply_error(call, ENOLINK, "%s", text);
		return;
	}
	cd_ipc_reply_error(call, -err, "the command was not taken: %s%s", strerror(-err),
			   err == -ETIMEDOUT ? "; it may still take effect" : "");
}

static void propose(struct cd *cd, struct cd_ipc_call *call, const struct core_command *cmd)
{
	bool open = log_is_open(&cd->replica->log);
	char text[1024];

	if (!open && !cd->votes.quorate) {
		quorum_text(cd, "; nothing was changed", text, sizeof(text));
		cd_ipc_reply_error(call, ENOLINK, "%s", text);
		return;
	}
	cd_drive_command(cd, cmd, COMMAND_MS, command_answer, call);
}

static struct core_command *command_new(enum core_command_kind kind)
{
	struct core_command *cmd = calloc(1, sizeof(*cmd));

	if (!cmd)
		abort();
	cmd->kind = kind;
	return cmd;
}

/* name and flags; the rest by the caller. */
static void simple(struct cd *cd, struct cd_ipc_call *call, const json_t *request,
		   enum core_command_kind kind)
{
	const char *name = name_of(call, request, "name"), *target = text_of(request, "to");
	const char *method = text_of(request, "method");
	struct core_command *cmd;

	if (!name)
		return;
	if (target[0] && !cl_name_valid(target)) {
		cd_ipc_reply_error(call, EINVAL, "node '%.80s' is not an allowed name", target);
		return;
	}
	cmd = command_new(kind);
	copy(cmd->name, sizeof(cmd->name), name);
	copy(cmd->target, sizeof(cmd->target), target);
	copy(cmd->text, sizeof(cmd->text), text_of(request, "who"));
	cmd->force = json_is_true(json_object_get(request, "force"));
	cmd->drain = json_is_true(json_object_get(request, "drain"));
	cmd->failback = json_is_true(json_object_get(request, "failback"));
	cmd->method = strcmp(method, "live") == 0  ? CORE_METHOD_LIVE :
		      strcmp(method, "quick") == 0 ? CORE_METHOD_QUICK :
						     CORE_METHOD_AUTO;
	propose(cd, call, cmd);
	free(cmd);
}

static void do_node_pause(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_NODE_PAUSE);
}

static void do_node_resume(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_NODE_RESUME);
}

static void do_node_confirm(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_NODE_CONFIRM);
}

static void do_volume_move(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	if (name_of(call, request, "to"))
		simple(cd, call, request, CORE_CMD_VOLUME_MOVE);
}

static void do_vm_start(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_VM_START);
}

static void do_vm_stop(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_VM_STOP);
}

static void do_vm_delete(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_VM_DELETE);
}

static void do_vm_migrate(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_VM_MIGRATE);
}

static void do_vm_cancel(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	simple(cd, call, request, CORE_CMD_VM_CANCEL);
}

/* ---- volume add: the LUN is looked at here first -------------------------------------------- */

struct volume_add {
	struct cd_job job;
	struct cd *cd;
	struct cd_ipc_call *call;
	struct core_command *cmd;
	struct cd_lun_check check;
	int rc;
	char error[1024];
};

static void volume_add_run(struct cd_job *job)
{
	struct volume_add *add = (struct volume_add *)job;

	add->rc = cd_lun_check(add->cmd->lun, add->cmd->force, add->check.own_key, &add->check,
			       add->error, sizeof(add->error));
}

static void volume_add_done(struct cd_job *job)
{
	struct volume_add *add = (struct volume_add *)job;

	if (add->rc < 0)
		cd_ipc_reply_error(add->call, -add->rc, "%s", add->error);
	else
		propose(add->cd, add->call, add->cmd);
	free(add->cmd);
	free(add);
}

static void do_volume_add(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = name_of(call, request, "name"), *lun = text_of(request, "lun");
	const struct core_state *st = cd_state(cd);
	struct volume_add *add;

	if (!name)
		return;
	if (!lun[0] || strlen(lun) >= CORE_LUN_MAX) {
		cd_ipc_reply_error(call, EINVAL,
				   "LUN '%.80s': expected an id as `clusterctl lun list` shows it", lun);
		return;
	}
	if (core_volume_find(st, name, NULL)) {
		cd_ipc_reply_error(call, EEXIST, "volume %s exists already", name);
		return;
	}
	for (uint16_t i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED &&
		    strcasecmp(st->volumes[i].lun, lun) == 0) {
			cd_ipc_reply_error(call, EBUSY, "LUN %s is volume %s already", lun,
					   st->volumes[i].name);
			return;
		}
	add = calloc(1, sizeof(*add));
	if (!add)
		abort();
	add->job = (struct cd_job){ .run = volume_add_run, .done = volume_add_done };
	add->cd = cd;
	add->call = call;
	add->cmd = command_new(CORE_CMD_VOLUME_ADD);
	copy(add->cmd->name, sizeof(add->cmd->name), name);
	copy(add->cmd->lun, sizeof(add->cmd->lun), lun);
	for (char *p = add->cmd->lun; *p && strncmp(add->cmd->lun, "t10.", 4) != 0; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 'a' - 'A' : *p);
	add->cmd->force = json_is_true(json_object_get(request, "force"));
	cd_pki_random(add->cmd->uuid, sizeof(add->cmd->uuid));
	add->cmd->uuid[6] = (add->cmd->uuid[6] & 0x0f) | 0x40;
	add->cmd->uuid[8] = (add->cmd->uuid[8] & 0x3f) | 0x80;
	add->check.own_key = st->nodes[cd->self.id].pr_key;
	cd_pool_submit(cd->work, &add->job);
}

/* ---- vm create ------------------------------------------------------------------------------ */

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

	create->rc = cd_check_kernel(vm->kernel, create->error, sizeof(create->error));
	if (create->rc == 0 && vm->initrd[0])
		create->rc = cd_check_file(vm->initrd, "initrd", create->error,
					   sizeof(create->error));
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
		propose(create->cd, create->call, create->cmd);
	free(create->cmd);
	free(create);
}

/* 52:54:00 and three bytes that the VM's name and the net's number give. */
static void mac_make(const struct cd *cd, const char *vm, unsigned index, uint8_t out[6])
{
	uint64_t hash = cl_hash64(index + 1, cd->self.uuid, sizeof(cd->self.uuid));

	hash = cl_hash64(hash, vm, strlen(vm));
	out[0] = 0x52;
	out[1] = 0x54;
	out[2] = 0x00;
	out[3] = (uint8_t)(hash >> 16);
	out[4] = (uint8_t)(hash >> 8);
	out[5] = (uint8_t)hash;
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
		const char *volume = text_of(disk, "volume"), *path = text_of(disk, "path");
		json_int_t size = json_integer_value(json_object_get(disk, "size"));
		struct core_disk *d = &cmd->vm.disks[i];

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
		copy(d->path, sizeof(d->path), path);
		d->size_bytes = (uint64_t)size;
		copy(cmd->volume_names[i], CL_NAME_MAX, volume);
		cmd->vm.disk_count++;
	}
	return 0;
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
		const char *name = text_of(net, "switch"), *mac = text_of(net, "mac");
		struct core_net *n = &cmd->vm.nets[i];

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
			mac_make(cd, cmd->vm.name, (unsigned)i, n->mac);
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
	const char *kernel = text_of(request, "kernel"), *initrd = text_of(request, "initrd");
	const char *append = text_of(request, "append");
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
	return rc < 0 ? rc : vm_nets_read(cd, request, cmd, error, cap_bytes);
}

static void do_vm_create(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = name_of(call, request, "name");
	struct vm_create *create;
	int rc;

	if (!name)
		return;
	if (core_vm_find(cd_state(cd), name, NULL)) {
		cd_ipc_reply_error(call, EEXIST, "VM %s exists already", name);
		return;
	}
	create = calloc(1, sizeof(*create));
	if (!create)
		abort();
	create->job = (struct cd_job){ .run = vm_create_run, .done = vm_create_done };
	create->cd = cd;
	create->call = call;
	create->cmd = command_new(CORE_CMD_VM_CREATE);
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

/* ---- questions ------------------------------------------------------------------------------ */

static void do_status(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	cd_ipc_reply(call, cd_view_status(cd));
}

static void do_why(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *object = text_of(request, "object"), *name = name_of(call, request, "name");
	enum core_object kind = strcmp(object, "node") == 0   ? CORE_OBJECT_NODE :
				strcmp(object, "volume") == 0 ? CORE_OBJECT_VOLUME :
				strcmp(object, "vm") == 0     ? CORE_OBJECT_VM :
								0;
	char *text;

	if (!name)
		return;
	if (!kind) {
		cd_ipc_reply_error(call, EINVAL, "why '%.40s': allowed are vm, volume, node", object);
		return;
	}
	text = calloc(1, 32768);
	if (!text)
		abort();
	if (core_why(cd_state(cd), kind, name, text, 32768) < 0)
		cd_ipc_reply_error(call, ENOENT, "there is no %s %s", object, name);
	else
		cd_ipc_reply(call, json_pack("{s:b s:s s:s s:s}", "ok", 1, "object", object, "name",
					     name, "text", text));
	free(text);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void waiter_add(struct cd *cd, struct cd_ipc_call *call, const json_t *request, uint64_t job,
		       uint64_t since, unsigned max)
{
	json_int_t wait = json_integer_value(json_object_get(request, "wait_ms"));

	for (unsigned i = 0; i < CD_WAITERS_MAX; i++) {
		if (cd->waiters[i].call)
			continue;
		cd->waiters[i] = (struct cd_waiter){
			.call = call,
			.deadline_ms = cd_now_ms() + (wait < 0	       ? 0 :
						      wait > WAIT_MAX_MS ? WAIT_MAX_MS :
									   (uint64_t)wait),
			.job = job,
			.since = since,
			.max = max,
		};
		cd_request_wake(cd);
		return;
	}
	cd_ipc_reply_error(call, EAGAIN, "%u clients wait already", CD_WAITERS_MAX);
}

static void do_job(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	json_int_t id = json_integer_value(json_object_get(request, "id"));

	if (id <= 0)
		cd_ipc_reply_error(call, EINVAL, "job id %lld is not allowed", (long long)id);
	else
		waiter_add(cd, call, request, (uint64_t)id, 0, 0);
}

static void do_events(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	json_int_t since = json_integer_value(json_object_get(request, "since"));
	json_int_t max = json_integer_value(json_object_get(request, "max"));

	waiter_add(cd, call, request, 0, since < 0 ? 0 : (uint64_t)since,
		   max < 1 || max > EVENTS_MAX ? EVENTS_MAX : (unsigned)max);
}

/* Events with an id after since, up to max, from the oldest that is kept. */
static json_t *events_list(const struct cd *cd, uint64_t since, unsigned max)
{
	json_t *list = json_array();
	uint64_t id = since + 1;

	if (cd->events_next > CD_EVENTS_KEPT && id < cd->events_next - CD_EVENTS_KEPT)
		id = cd->events_next - CD_EVENTS_KEPT;
	for (; id < cd->events_next && json_array_size(list) < max; id++) {
		const struct cd_event_line *line = &cd->events[id % CD_EVENTS_KEPT];

		if (line->json && line->id == id)
			json_array_append(list, line->json);
	}
	return list;
}

static bool events_answer(struct cd *cd, struct cd_waiter *w, bool late)
{
	json_t *list = events_list(cd, w->since, w->max);

	if (!json_array_size(list) && !late) {
		json_decref(list);
		return false;
	}
	cd_ipc_reply(w->call, json_pack("{s:b s:I s:o}", "ok", 1, "newest",
					(json_int_t)(cd->events_next - 1), "events", list));
	return true;
}

static bool job_answer(struct cd *cd, struct cd_waiter *w, bool late)
{
	const struct core_job *job = core_job_find(cd_state(cd), w->job);
	json_t *view, *object = json_null();

	if (!job) {
		/* The log may be behind here: the job's entry is its id. */
		if (!late && cd_state(cd)->applied_seq < w->job)
			return false;
		cd_ipc_reply_error(w->call, ENOENT, "job %llu is not known any more",
				   (unsigned long long)w->job);
		return true;
	}
	if (job->state == CORE_JOB_RUNNING && !late)
		return false;
	view = cd_view_job(cd, job);
	if (job->object == CORE_OBJECT_VM && job->index < CORE_VMS_MAX &&
	    cd_state(cd)->vms[job->index].state != CORE_VM_UNUSED) {
		json_decref(object);
		object = cd_view_vm(cd, job->index);
	} else if (job->object == CORE_OBJECT_VOLUME && job->index < CORE_VOLUMES_MAX &&
		   cd_state(cd)->volumes[job->index].state != CORE_VOLUME_UNUSED) {
		json_decref(object);
		object = cd_view_volume(cd, job->index);
	} else if (job->object == CORE_OBJECT_NODE && job->index <= CL_NODES_MAX && job->index) {
		json_decref(object);
		object = cd_view_node(cd, (uint8_t)job->index);
	}
	cd_ipc_reply(w->call, json_pack("{s:b s:o s:o}", "ok", 1, "job", view, "object", object));
	return true;
}

void cd_request_wake(struct cd *cd)
{
	uint64_t now = cd_now_ms();

	for (unsigned i = 0; i < CD_WAITERS_MAX; i++) {
		struct cd_waiter *w = &cd->waiters[i];
		bool late = now >= w->deadline_ms;

		if (!w->call)
			continue;
		if (!cd_ipc_call_alive(w->call)) {
			cd_ipc_reply(w->call, NULL);
			w->call = NULL;
		} else if (w->job ? job_answer(cd, w, late) : events_answer(cd, w, late)) {
			w->call = NULL;
		}
	}
}

static void do_luns(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	cd_luns_list(cd, call);
}

/* ---- dispatch ------------------------------------------------------------------------------- */

static const struct {
	const char *verb;
	void (*run)(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
	bool alone; /* also on a node that is in no cluster */
} verbs[] = {
	{ "status", do_status, true },
	{ "cluster-create", cd_cluster_create, true },
	{ "cluster-join", cd_cluster_join, true },
	{ "luns", do_luns, true },
	{ "cluster-token", cd_cluster_token, false },
	{ "node-pause", do_node_pause, false },
	{ "node-resume", do_node_resume, false },
	{ "node-confirm-dead", do_node_confirm, false },
	{ "volume-add", do_volume_add, false },
	{ "volume-move", do_volume_move, false },
	{ "vm-create", do_vm_create, false },
	{ "vm-start", do_vm_start, false },
	{ "vm-stop", do_vm_stop, false },
	{ "vm-delete", do_vm_delete, false },
	{ "vm-migrate", do_vm_migrate, false },
	{ "vm-cancel", do_vm_cancel, false },
	{ "why", do_why, false },
	{ "job", do_job, false },
	{ "events", do_events, false },
};

void cd_request(void *arg, struct cd_ipc_call *call, const json_t *request)
{
	struct cd *cd = arg;
	const char *verb = text_of(request, "do");

	for (unsigned i = 0; i < CL_ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i].verb, verb) != 0)
			continue;
		if (!verbs[i].alone && !cd->member)
			cd_ipc_reply_error(call, ENOTCONN,
					   "this node is not in a cluster: `clusterctl cluster create` or"
					   " `clusterctl cluster join` first");
		else
			verbs[i].run(cd, call, request);
		return;
	}
	cd_ipc_reply_error(call, ENOSYS, "verb '%.40s' is not known to this clusterd", verb);
}
