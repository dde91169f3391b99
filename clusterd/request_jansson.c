/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the local service (docs/formats/ipc.md): checks what a client
 * says, proposes commands, answers questions from the replicated state.  Nothing here trusts that
 * clusterctl checked first.
 */
#include "clusterd/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clusterd/check_linux.h"
#include "clusterd/luns_scsi3pr.h"
#include "clusterd/monitor_vmm.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_log.h"

#define COMMAND_MS 100000u

const char *cd_request_name(struct cd_ipc_call *call, const json_t *request, const char *key)
{
	const char *name = cd_field_text(request, key);

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

void cd_request_propose(struct cd *cd, struct cd_ipc_call *call, const struct core_command *cmd)
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

struct core_command *cd_request_command(enum core_command_kind kind)
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
	const char *name = cd_request_name(call, request, "name"), *target = cd_field_text(request, "to");
	const char *method = cd_field_text(request, "method");
	struct core_command *cmd;

	if (!name)
		return;
	if (target[0] && !cl_name_valid(target)) {
		cd_ipc_reply_error(call, EINVAL, "node '%.80s' is not an allowed name", target);
		return;
	}
	if (json_is_true(json_object_get(request, "keep_disks")) &&
	    cd_state(cd)->level < CORE_LEVEL_CAUSES) {
		cd_ipc_reply_error(call, EOPNOTSUPP,
				   "keep_disks: the cluster's functional level is %u, %u is "
				   "needed; nothing was changed",
				   cd_state(cd)->level, CORE_LEVEL_CAUSES);
		return;
	}
	cmd = cd_request_command(kind);
	copy(cmd->name, sizeof(cmd->name), name);
	copy(cmd->target, sizeof(cmd->target), target);
	copy(cmd->text, sizeof(cmd->text), cd_field_text(request, "who"));
	cmd->force = json_is_true(json_object_get(request, "force"));
	cmd->drain = json_is_true(json_object_get(request, "drain"));
	cmd->failback = json_is_true(json_object_get(request, "failback"));
	cmd->keep = json_is_true(json_object_get(request, "keep_disks"));
	cmd->method = strcmp(method, "live") == 0    ? CORE_METHOD_LIVE
		      : strcmp(method, "quick") == 0 ? CORE_METHOD_QUICK
						     : CORE_METHOD_AUTO;
	if (json_is_true(json_object_get(request, "plan")))
		cd_request_plan(cd, call, cmd);
	else
		cd_request_propose(cd, call, cmd);
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
	if (cd_request_name(call, request, "to"))
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
		cd_request_propose(add->cd, add->call, add->cmd);
	free(add->cmd);
	free(add);
}

static void do_volume_add(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *name = cd_request_name(call, request, "name"), *lun = cd_field_text(request, "lun");
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
	add->cmd = cd_request_command(CORE_CMD_VOLUME_ADD);
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

/* ---- questions ------------------------------------------------------------------------------ */

static void do_status(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	cd_ipc_reply(call, cd_view_status(cd));
}

/* What only this node knows of a VM, or NULL. */
static const char *here_text(struct cd *cd, const char *vm)
{
	const char *frozen = cd_monitor_frozen(cd, vm);

	return frozen ? frozen : cd_monitor_stalled(cd, vm);
}

static void do_why(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	const char *object = cd_field_text(request, "object"), *name = cd_request_name(call, request, "name");
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
		cd_ipc_reply(call, json_pack("{s:b s:s s:s s:s* s:s}", "ok", 1, "object", object,
					     "name", name, "here",
					     kind == CORE_OBJECT_VM ? here_text(cd, name) : NULL,
					     "text", text));
	free(text);
}

static void do_luns(struct cd *cd, struct cd_ipc_call *call, const json_t *request)
{
	cd_luns_list(cd, call);
}

/* ---- dispatch ------------------------------------------------------------------------------- */

static const struct {
	const char *verb;
	void (*run)(struct cd *cd, struct cd_ipc_call *call, const json_t *request);
	bool alone;	     /* also on a node that is in no cluster */
	const char *members; /* what it takes beside "do", see cd_members_check() */
} verbs[] = {
	{ "status", do_status, true, "" },
	{ "cluster-create", cd_cluster_create, true, "name:s address:s token_ms:i" },
	{ "cluster-join", cd_cluster_join, true, "address:s token:s own_address:s" },
	{ "luns", do_luns, true, "" },
	{ "cluster-token", cd_cluster_token, false, "name:s" },
	{ "cluster-set", cd_request_cluster_set, false, "sets:o" },
	{ "cluster-disarm", cd_request_cluster_disarm, false, "who:s" },
	{ "cluster-arm", cd_request_cluster_arm, false, "who:s" },
	{ "cluster-level", cd_request_cluster_level, false, "who:s" },
	{ "config-export", cd_request_config_export, false, "" },
	{ "config-import", cd_request_config_import, false, "config:o plan:b" },
	{ "timing", cd_request_timing, false, "" },
	{ "node-fail", cd_request_node_fail, false, "name:s plan:b" },
	{ "node-pause", do_node_pause, false, "name:s drain:b plan:b" },
	{ "node-resume", do_node_resume, false, "name:s failback:b" },
	{ "node-confirm-dead", do_node_confirm, false, "name:s who:s" },
	{ "volume-add", do_volume_add, false, "name:s lun:s force:b" },
	{ "volume-move", do_volume_move, false, "name:s to:s plan:b" },
	{ "vm-create", cd_request_vm_create, false,
	  "name:s memory_mib:i cpus:i kernel:s initrd:s append:s disks:a nets:a policy:o" },
	{ "vm-set", cd_request_vm_set, false, "name:s policy:o" },
	{ "vm-start", do_vm_start, false, "name:s to:s force:b" },
	{ "vm-stop", do_vm_stop, false, "name:s force:b" },
	{ "vm-delete", do_vm_delete, false, "name:s keep_disks:b plan:b" },
	{ "vm-migrate", do_vm_migrate, false, "name:s to:s method:live|quick|auto plan:b" },
	{ "vm-cancel", do_vm_cancel, false, "name:s" },
	{ "why", do_why, false, "object:s name:s" },
	{ "job", cd_request_job, false, "id:i wait_ms:i" },
	{ "events", cd_request_events, false, "since:i max:i wait_ms:i" },
};

void cd_request(void *arg, struct cd_ipc_call *call, const json_t *request)
{
	struct cd *cd = arg;
	const char *verb = cd_field_text(request, "do");
	char error[512];

	for (unsigned i = 0; i < CL_ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i].verb, verb) != 0)
			continue;
		if (!cd_members_check(request, verbs[i].members ? verbs[i].members : "", error,
				      sizeof(error)))
			cd_ipc_reply_error(call, EINVAL, "%s", error);
		else if (!verbs[i].alone && !cd->member)
			cd_ipc_reply_error(
				call, ENOTCONN,
				"this node is not in a cluster: `clusterctl cluster create` or"
				" `clusterctl cluster join` first");
		else
			verbs[i].run(cd, call, request);
		return;
	}
	cd_ipc_reply_error(call, ENOSYS, "verb '%.40s' is not known to this clusterd", verb);
}
