/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operators' commands: checked against the state at their place in the log, so
 * that every node gives the same answer.  A refusal changes nothing and says what, where, what
 * was seen and what is allowed.
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

#include <errno.h>
#include <string.h>

#define REFUSE CORE_REFUSE

static void op_init(struct core_state *st, const struct core_command *cmd, struct core_answer *ans)
{
	struct core_node *n;

	if (st->name[0])
		REFUSE(ans, EEXIST, "cluster ", st->name, " exists already");
	if (!cl_name_valid(cmd->name) || !cl_name_valid(cmd->target) || cmd->node == 0 ||
	    cmd->node > CL_NODES_MAX)
		REFUSE(ans, EINVAL, "a cluster needs a name, and its first node a name and an id");
	core_str_copy(st->name, sizeof(st->name), cmd->name);
	memcpy(st->uuid, cmd->uuid, sizeof(st->uuid));
	core_settings_init(st);
	if (cmd->timing.freeze_kill_ms)
		st->timing.freeze_kill_ms = cmd->timing.freeze_kill_ms;
	if (cmd->timing.takeover_ms)
		st->timing.takeover_ms = cmd->timing.takeover_ms;
	if (cmd->timing.silent_ms)
		st->timing.silent_ms = cmd->timing.silent_ms;
	if (cmd->timing.retry_ms)
		st->timing.retry_ms = cmd->timing.retry_ms;
	if (!CORE_TIMING_SAFE(&st->timing)) /* never shorter than safe */
		st->timing.takeover_ms =
			st->timing.freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS;
	n = &st->nodes[cmd->node];
	n->id = cmd->node;
	n->voter = true;
	core_str_copy(n->name, sizeof(n->name), cmd->target);
	core_str_copy(n->address, sizeof(n->address), cmd->address);
	core_str_copy(n->vm_address, sizeof(n->vm_address), cmd->vm_address);
	core_trace_add(st, CORE_OBJECT_CLUSTER, st->name, 0, 1, CORE_WHY_CREATED, cmd->node, 0, 0);
	core_node_set(st, n, CORE_NODE_NEW, CORE_WHY_NODE_ADDED, 0, 0, 0);
}

static void op_cluster_set(struct core_state *st, const struct core_command *cmd,
			   struct core_answer *ans)
{
	uint32_t takeover_ms = st->timing.takeover_ms;

	if (core_settings_check(st, cmd->sets, cmd->set_count, ans->text, sizeof(ans->text))) {
		ans->err = -EINVAL;
		return;
	}
	for (uint8_t i = 0; i < cmd->set_count; i++) {
		if (core_setting_get(st, cmd->sets[i].setting) == cmd->sets[i].value)
			continue;
		core_settings_apply(st, &cmd->sets[i], 1);
		core_trace_add(st, CORE_OBJECT_CLUSTER, st->name, 1, 1, CORE_WHY_SETTING, 0,
			       cmd->sets[i].setting, cmd->sets[i].value);
	}
	core_node_timing_changed(st, takeover_ms);
}

/* ---- maintenance of the cluster ------------------------------------------------------------- */

static void op_disarm(struct core_state *st, const struct core_command *cmd, struct core_answer *ans)
{
	if (st->disarmed)
		REFUSE(ans, EALREADY, "the cluster was disarmed already, by ", st->disarmed_by);
	st->disarmed = true;
	st->disarmed_wall_ms = st->wall_ms;
	core_str_copy(st->disarmed_by, sizeof(st->disarmed_by), cmd->text[0] ? cmd->text : "root");
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		st->nodes[id].loose = true;
	core_trace_add(st, CORE_OBJECT_CLUSTER, st->name, 1, 1, CORE_WHY_DISARMED, 0, 0, 0);
}

static void op_arm(struct core_state *st, struct core_answer *ans)
{
	if (!st->disarmed)
		REFUSE(ans, EALREADY, "the cluster is armed already");
	st->disarmed = false;
	st->timing_seq = st->applied_seq;
	st->disarmed_wall_ms = 0;
	memset(st->disarmed_by, 0, sizeof(st->disarmed_by));
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state == CORE_NODE_SILENT)
			st->nodes[id].hold_until_ms = st->now_ms + st->timing.silent_ms;
	core_trace_add(st, CORE_OBJECT_CLUSTER, st->name, 1, 1, CORE_WHY_ARMED, 0, 0, 0);
}

static void op_level(struct core_state *st, struct core_answer *ans)
{
	const struct core_node *oldest = NULL;
	char number[24];
	struct core_text t;

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state != CORE_NODE_UNUSED &&
		    (!oldest || st->nodes[id].level < oldest->level))
			oldest = &st->nodes[id];
	core_text_init(&t, number, sizeof(number));
	core_text_u64(&t, oldest ? oldest->level : 0);
	if (!oldest || oldest->level <= st->level)
		REFUSE(ans, EALREADY, "the functional level is as high as all nodes know: node ",
		       oldest ? oldest->name : "?",
		       oldest && !oldest->level ? " has not reported yet" : " knows no newer than ",
		       oldest && !oldest->level ? "" : number);
	core_trace_add(st, CORE_OBJECT_CLUSTER, st->name, 1, 1, CORE_WHY_LEVEL_RAISED, 0, st->level,
		       oldest->level);
	st->level = oldest->level;
}

static void op_node_add(struct core_state *st, const struct core_command *cmd,
			struct core_answer *ans)
{
	uint8_t id = cmd->node;
	struct core_node *n;

	if (!cl_name_valid(cmd->name))
		REFUSE(ans, EINVAL, "node: that is no name: 1 to 63 of A-Z a-z 0-9 . _ -");
	n = (struct core_node *)core_node_find(st, cmd->name);
	if (n && n->state == CORE_NODE_NEW && core_str_equal(n->address, cmd->address) &&
	    (!id || id == n->id))
		return; /* asked again: a join that was cut off */
	if (n)
		REFUSE(ans, EEXIST, "node ", cmd->name, ": there is one of this name already");
	n = st->level >= CORE_LEVEL_IDENTITY ?
		    (struct core_node *)core_address_holder(st, cmd->address) :
		    NULL;
	if (n)
		REFUSE(ans, EEXIST, "node ", cmd->name, ": address ", cmd->address, " is that of node ",
		       n->name);
	for (uint8_t i = 1; i <= CL_NODES_MAX && !id; i++)
		if (st->nodes[i].state == CORE_NODE_UNUSED)
			id = i;
	if (!id || id > CL_NODES_MAX || st->nodes[id].state != CORE_NODE_UNUSED)
		REFUSE(ans, ENOSPC, "node ", cmd->name, ": no node id is free (16 at most)");
	n = &st->nodes[id];
	memset(n, 0, sizeof(*n));
	n->id = id;
	core_str_copy(n->name, sizeof(n->name), cmd->name);
	core_str_copy(n->address, sizeof(n->address), cmd->address);
	core_str_copy(n->vm_address, sizeof(n->vm_address), cmd->vm_address);
	core_node_set(st, n, CORE_NODE_NEW, CORE_WHY_NODE_ADDED, 0, 0, 0);
}

static void op_node_pause(struct core_state *st, struct core_node *n, const struct core_command *cmd,
			  struct core_answer *ans)
{
	if (n->pause && (n->drain || !cmd->drain)) {
		/* Already so, or on the way: the job that runs is the answer. */
		ans->job = n->job;
		return;
	}
	n->pause = true;
	n->drain = cmd->drain;
	n->failback = false;
	core_job_end(st, &n->job, false, "replaced by a later command");
	if (!cmd->drain) {
		if (core_node_ok(st, n->id))
			core_node_set(st, n, CORE_NODE_PAUSED, CORE_WHY_PAUSED, 0, 0, 0);
		return;
	}
	n->job = core_job_new(st, cmd->kind, CORE_OBJECT_NODE, n->id, n->name);
	ans->job = n->job;
	for (uint16_t i = 0; i < st->vm_count; i++)
		st->vms[i].migration.rung = CORE_RUNG_LIVE;
	if (core_node_ok(st, n->id))
		core_node_set(st, n, CORE_NODE_DRAINING, CORE_WHY_PAUSED, 0, 0, 0);
	else
		core_job_end(st, &n->job, true, "the node is not up; it will be drained when it is");
}

static void op_node_resume(struct core_state *st, struct core_node *n,
			   const struct core_command *cmd, struct core_answer *ans)
{
	n->pause = n->drain = false;
	n->losses = 0;
	n->quarantine_until_ms = 0;
	core_job_end(st, &n->job, false, "the node was resumed");
	if (core_node_ok(st, n->id))
		core_node_set(st, n, CORE_NODE_UP, CORE_WHY_RESUMED, 0, 0, 0);
	if (cmd->failback) {
		n->failback = true;
		n->job = core_job_new(st, cmd->kind, CORE_OBJECT_NODE, n->id, n->name);
		ans->job = n->job;
	} else {
		for (uint16_t i = 0; i < st->vm_count; i++)
			if (st->vms[i].home == n->id &&
			    st->vms[i].policy.failback == CORE_FAILBACK_NEVER)
				st->vms[i].home = 0;
	}
}

static void op_node(struct core_state *st, const struct core_command *cmd, struct core_answer *ans)
{
	struct core_node *n = (struct core_node *)core_node_find(st, cmd->name);

	if (!n)
		REFUSE(ans, ENOENT, "node ", cmd->name, ": there is no such node");
	switch (cmd->kind) {
	case CORE_CMD_NODE_PAUSE:
		op_node_pause(st, n, cmd, ans);
		break;
	case CORE_CMD_NODE_RESUME:
		op_node_resume(st, n, cmd, ans);
		break;
	case CORE_CMD_NODE_CONFIRM:
		if (n->state != CORE_NODE_LOST && n->state != CORE_NODE_FENCING)
			REFUSE(ans, EINVAL, "node ", n->name, " is ", core_node_state_name(n->state),
			       ": only a node that is lost or being fenced can be confirmed dead");
		core_node_over(st, n, CORE_PROOF_OPERATOR, CORE_WHY_PROOF_OPERATOR, 0, 0);
		break;
	}
}

static void op_volume_add(struct core_state *st, const struct core_command *cmd,
			  struct core_answer *ans)
{
	struct core_volume *v = NULL;
	bool up = false;
	uint16_t i;

	if (!cl_name_valid(cmd->name))
		REFUSE(ans, EINVAL, "volume: that is no name: 1 to 63 of A-Z a-z 0-9 . _ -");
	if (core_volume_find(st, cmd->name, NULL))
		REFUSE(ans, EEXIST, "volume ", cmd->name, ": there is one of this name already");
	for (i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED &&
		    core_str_equal(st->volumes[i].lun, cmd->lun))
			REFUSE(ans, EBUSY, "volume ", cmd->name, ": LUN ", cmd->lun,
			       " is volume ", st->volumes[i].name, " already");
	for (i = 1; i <= CL_NODES_MAX; i++)
		up |= core_node_ok(st, (uint8_t)i);
	if (!up)
		REFUSE(ans, EHOSTDOWN, "volume ", cmd->name, ": no node is up");
	for (i = 0; i < CORE_VOLUMES_MAX && !v; i++)
		if (i == st->volume_count || st->volumes[i].state == CORE_VOLUME_UNUSED)
			v = &st->volumes[i];
	if (!v || !cmd->lun[0])
		REFUSE(ans, v ? EINVAL : ENOSPC, "volume ", cmd->name,
		       v ? ": --lun is missing" : ": there are 16 volumes already");
	i = (uint16_t)(v - st->volumes);
	if (i == st->volume_count)
		st->volume_count++;
	memset(v, 0, sizeof(*v));
	core_str_copy(v->name, sizeof(v->name), cmd->name);
	core_str_copy(v->lun, sizeof(v->lun), cmd->lun);
	memcpy(v->uuid, cmd->uuid, sizeof(v->uuid));
	v->force = cmd->force;
	core_volume_set(st, v, CORE_VOLUME_ADDING, CORE_WHY_OPERATOR, 0, 0, 0);
	v->job = core_job_new(st, cmd->kind, CORE_OBJECT_VOLUME, i, v->name);
	ans->job = v->job;
}

static void op_volume_move(struct core_state *st, const struct core_command *cmd,
			   struct core_answer *ans)
{
	uint16_t index;
	struct core_volume *v = (struct core_volume *)core_volume_find(st, cmd->name, &index);
	const struct core_node *n = core_node_find(st, cmd->target);

	if (!v)
		REFUSE(ans, ENOENT, "volume ", cmd->name, ": there is no such volume");
	if (!n)
		REFUSE(ans, ENOENT, "node ", cmd->target, ": there is no such node");
	if (v->state != CORE_VOLUME_ACTIVE || v->want)
		REFUSE(ans, EBUSY, "volume ", v->name, " is ",
		       v->want ? "being moved" : core_volume_state_name(v->state),
		       ": only an active volume can be moved");
	if (v->owner == n->id)
		REFUSE(ans, EALREADY, "volume ", v->name, ": node ", n->name, " owns it already");
	if (!core_node_ok(st, n->id) || !(v->attached & CORE_NODE_BIT(n->id)))
		REFUSE(ans, EHOSTDOWN, "node ", n->name, " is ", core_node_state_name(n->state),
		       core_node_ok(st, n->id) ? " and does not have the volume attached" :
						 ": it cannot own a volume");
	v->want = n->id;
	core_job_end(st, &v->job, false, "replaced by a later command");
	v->job = core_job_new(st, cmd->kind, CORE_OBJECT_VOLUME, index, v->name);
	ans->job = v->job;
}

/* Relative, no empty part, none that starts with a dot (.., .holdfast). */
static bool path_sound(const char *path)
{
	const char *s = path;
	char before = '/';

	if (!*path)
		return false;
	for (; *s; before = *s++)
		if (before == '/' && (*s == '/' || *s == '.'))
			return false;
	return before != '/';
}

static void vm_sane(const struct core_vm_config *c, struct core_answer *ans)
{
	if (!cl_name_valid(c->name))
		REFUSE(ans, EINVAL, "vm: that is no name: 1 to 63 of A-Z a-z 0-9 . _ -");
	if (!c->memory_mib || !c->cpus || c->cpus > 64 || c->disk_count > CORE_DISKS_MAX ||
	    c->net_count > CORE_NETS_MAX || !c->kernel[0])
		REFUSE(ans, EINVAL, "vm ", c->name,
		       ": memory, 1 to 64 CPUs, a kernel, at most 4 disks and 2 networks are needed");
}

static uint16_t volume_of(const struct core_state *st, const struct core_command *cmd, uint16_t disk)
{
	uint16_t index = CORE_NONE;

	if (cmd->volume_names[disk][0] && !core_volume_find(st, cmd->volume_names[disk], &index))
		return CORE_NONE;
	return index;
}

void core_vm_create_check(const struct core_state *st, const struct core_command *cmd,
			  struct core_answer *ans)
{
	const struct core_vm_config *c = &cmd->vm;
	struct core_vm_policy policy;
	uint16_t volumes[CORE_DISKS_MAX];
	uint16_t i, k, d;

	vm_sane(c, ans);
	if (ans->err)
		return;
	core_policy_default(&policy);
	if (core_policy_take(st, &policy, cmd, c->name, ans))
		return;
	if (core_vm_find(st, c->name, NULL))
		REFUSE(ans, EEXIST, "vm ", c->name, ": there is one of this name already");
	core_macs_check(st, c, ans);
	if (ans->err)
		return;
	for (d = 0; d < c->disk_count; d++) {
		volumes[d] = CORE_NONE;
		if (!cmd->volume_names[d][0])
			continue;
		if (!core_volume_find(st, cmd->volume_names[d], &volumes[d]))
			REFUSE(ans, ENOENT, "vm ", c->name, ": volume ", cmd->volume_names[d],
			       ": there is no such volume");
		if (st->volumes[volumes[d]].state == CORE_VOLUME_ADDING)
			REFUSE(ans, EBUSY, "vm ", c->name, ": volume ", cmd->volume_names[d],
			       " is still being added");
		if (!path_sound(c->disks[d].path))
			REFUSE(ans, EINVAL, "vm ", c->name, ": disk ", c->disks[d].path,
			       ": a path below the volume is needed, no part starting with a dot");
		for (i = 0; i < st->vm_count; i++)
			for (k = 0; st->vms[i].state != CORE_VM_UNUSED &&
				    k < st->vms[i].config.disk_count;
			     k++)
				if (st->vms[i].config.disks[k].volume == volumes[d] &&
				    core_str_equal(st->vms[i].config.disks[k].path, c->disks[d].path))
					REFUSE(ans, EBUSY, "vm ", c->name, ": disk ",
					       c->disks[d].path, " belongs to VM ",
					       st->vms[i].config.name);
		for (k = 0; k < d; k++)
			if (volumes[k] == volumes[d] &&
			    core_str_equal(c->disks[k].path, c->disks[d].path))
				REFUSE(ans, EINVAL, "vm ", c->name, ": disk ", c->disks[d].path,
				       " is named twice");
	}
	for (i = 0; i < CORE_VMS_MAX; i++)
		if (i >= st->vm_count || st->vms[i].state == CORE_VM_UNUSED)
			return;
	REFUSE(ans, ENOSPC, "vm ", c->name, ": there are 1024 VMs already");
}

static void op_vm_create(struct core_state *st, const struct core_command *cmd,
			 struct core_answer *ans)
{
	const struct core_vm_config *c = &cmd->vm;
	struct core_vm *vm = NULL;
	uint16_t i, d;

	core_vm_create_check(st, cmd, ans);
	if (ans->err)
		return;
	for (i = 0; i < CORE_VMS_MAX && !vm; i++)
		if (i == st->vm_count || st->vms[i].state == CORE_VM_UNUSED)
			vm = &st->vms[i];
	i = (uint16_t)(vm - st->vms);
	if (i == st->vm_count)
		st->vm_count++;
	memset(vm, 0, sizeof(*vm));
	vm->config = *c;
	core_policy_default(&vm->policy);
	core_policy_take(st, &vm->policy, cmd, c->name, ans);
	for (d = 0; d < c->disk_count; d++) {
		vm->config.disks[d].volume = volume_of(st, cmd, d);
		vm->config.disks[d].created = false;
	}
	vm->adopt = cmd->adopt;
	/* Higher than any of a VM that had this name before: its late starts must stay old. */
	vm->generation_last = CORE_MUTANT(27) ? 0 : st->applied_seq;
	core_vm_set(st, vm, CORE_VM_CREATING, CORE_WHY_OPERATOR, 0, 0, 0);
	if (cmd->adopt)
		return; /* one of many: nobody waits for each */
	vm->job = core_job_new(st, cmd->kind, CORE_OBJECT_VM, i, c->name);
	ans->job = vm->job;
}

void core_vm_change_check(const struct core_state *st, const struct core_command *cmd,
			  struct core_answer *ans)
{
	const struct core_vm_config *c = &cmd->vm;
	const struct core_vm *vm = core_vm_find(st, c->name, NULL);

	vm_sane(c, ans);
	if (ans->err)
		return;
	if (!vm)
		REFUSE(ans, ENOENT, "vm ", c->name, ": there is no such VM");
	if (vm->state != CORE_VM_STOPPED && vm->state != CORE_VM_FAILED)
		REFUSE(ans, EBUSY, "vm ", c->name, " is ", core_vm_state_name(vm->state),
		       ": its machine can be changed only while it is stopped");
	if (c->disk_count != vm->config.disk_count)
		REFUSE(ans, EINVAL, "vm ", c->name, ": its disks cannot be changed");
	for (uint16_t d = 0; d < c->disk_count; d++)
		if (volume_of(st, cmd, d) != vm->config.disks[d].volume ||
		    c->disks[d].size_bytes != vm->config.disks[d].size_bytes ||
		    c->disks[d].readonly != vm->config.disks[d].readonly ||
		    !core_str_equal(c->disks[d].path, vm->config.disks[d].path))
			REFUSE(ans, EINVAL, "vm ", c->name, ": its disks cannot be changed");
	core_macs_check(st, c, ans);
}

static void op_vm_change(struct core_state *st, const struct core_command *cmd,
			 struct core_answer *ans)
{
	const struct core_vm_config *c = &cmd->vm;
	struct core_vm_config *own;
	struct core_vm *vm;

	core_vm_change_check(st, cmd, ans);
	if (ans->err)
		return;
	vm = (struct core_vm *)core_vm_find(st, c->name, NULL);
	own = &vm->config;
	own->memory_mib = c->memory_mib;
	own->cpus = c->cpus;
	own->net_count = c->net_count;
	memcpy(own->kernel, c->kernel, sizeof(own->kernel));
	memcpy(own->initrd, c->initrd, sizeof(own->initrd));
	memcpy(own->append, c->append, sizeof(own->append));
	memcpy(own->nets, c->nets, sizeof(own->nets));
	core_trace_add(st, CORE_OBJECT_VM, own->name, vm->state, vm->state, CORE_WHY_VM_CHANGED, 0, 0,
		       0);
}

static void vm_job(struct core_state *st, struct core_vm *vm, const struct core_command *cmd,
		   struct core_answer *ans)
{
	core_job_end(st, &vm->job, false, "replaced by a later command");
	vm->job = core_job_new(st, cmd->kind, CORE_OBJECT_VM, core_vm_index(st, vm), vm->config.name);
	ans->job = vm->job;
}

/* Admission: what runs must find room after as many node losses as the operator wants to afford. */
static bool spare_left(const struct core_state *st, const struct core_vm *vm, struct core_answer *ans)
{
	struct core_spare spare;
	struct core_text t;
	uint8_t id;

	if (!st->settings.spare)
		return true;
	core_spare(st, core_vm_index(st, vm), st->settings.spare, &spare);
	if (spare.losses >= st->settings.spare || spare.limit == CORE_SPARE_QUORUM)
		return true; /* votes are no matter of what runs */
	ans->err = -ENOMEM;
	core_text_init(&t, ans->text, sizeof(ans->text));
	core_text_add(&t, "vm ");
	core_text_add(&t, vm->config.name);
	core_text_add(&t, ": with it, the loss of");
	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (!(spare.lost & CORE_NODE_BIT(id)))
			continue;
		core_text_add(&t, " ");
		core_text_add(&t, st->nodes[id].name);
	}
	core_text_add(&t, " would leave no room for VM ");
	core_text_add(&t, st->vms[spare.vm].config.name);
	core_text_add(&t, "; the spare to keep is ");
	core_text_u64(&t, st->settings.spare);
	core_text_add(&t, " (`cluster set --spare`); --force starts it all the same");
	return false;
}

static void op_vm_start(struct core_state *st, struct core_vm *vm, const struct core_command *cmd,
			struct core_answer *ans)
{
	const struct core_node *n = NULL;
	char why[CORE_TEXT_MAX];

	if (cmd->target[0]) {
		n = core_node_find(st, cmd->target);
		if (!n)
			REFUSE(ans, ENOENT, "node ", cmd->target, ": there is no such node");
		if (!core_node_up(st, n->id))
			REFUSE(ans, EHOSTDOWN, "node ", n->name, " is ",
			       core_node_state_name(n->state), ": it takes no VMs");
		core_explain_fit(st, vm, n->id, why, sizeof(why));
		if (why[0])
			REFUSE(ans, ENOMEM, "vm ", vm->config.name, " to node ", n->name, ": ", why);
	}
	if (vm->state == CORE_VM_CREATING)
		REFUSE(ans, EBUSY, "vm ", vm->config.name, " is still being created");
	if (vm->run && vm->state != CORE_VM_FAILED) {
		if (vm->state == CORE_VM_RUNNING)
			REFUSE(ans, EALREADY, "vm ", vm->config.name, " runs already, on node ",
			       st->nodes[vm->node].name);
		if (!vm->job)
			vm_job(st, vm, cmd, ans);
		ans->job = vm->job;
		return;
	}
	if (!cmd->force && !spare_left(st, vm, ans))
		return;
	vm->run = true;
	vm->force = false;
	vm->failures = 0;
	vm->avoid = 0;
	vm->prefer = n ? n->id : 0;
	vm_job(st, vm, cmd, ans);
	if (vm->state == CORE_VM_FAILED) {
		vm->retry_ms = 0;
		core_vm_set(st, vm, CORE_VM_WAITING, CORE_WHY_OPERATOR, 0, 0, 0);
	}
}

static void op_vm_stop(struct core_state *st, struct core_vm *vm, const struct core_command *cmd,
		       struct core_answer *ans)
{
	struct core_migration *m = &vm->migration;

	if (vm->state == CORE_VM_CREATING)
		REFUSE(ans, EBUSY, "vm ", vm->config.name, " is still being created");
	if (vm->state == CORE_VM_STOPPED)
		REFUSE(ans, EALREADY, "vm ", vm->config.name, " is stopped already");
	vm->run = false;
	vm->force |= cmd->force;
	vm_job(st, vm, cmd, ans);
	if (vm->state == CORE_VM_FAILED) {
		core_vm_set(st, vm, CORE_VM_STOPPED, CORE_WHY_OPERATOR, 0, 0, 0);
		core_job_end(st, &vm->job, true, "it was not running");
	}
	if (cmd->force && vm->state == CORE_VM_LIVE &&
	    (m->phase == CORE_MIG_INCOMING || m->phase == CORE_MIG_COPY))
		core_migrate_abort(st, vm, CORE_WHY_MIG_CANCELLED, vm->node, 0);
}

static void op_vm_migrate(struct core_state *st, struct core_vm *vm, const struct core_command *cmd,
			  struct core_answer *ans)
{
	const struct core_node *n = NULL;
	char why[CORE_TEXT_MAX];
	uint8_t target;
	bool quick = cmd->method == CORE_METHOD_QUICK;
	int err;

	if (vm->state != CORE_VM_RUNNING || !vm->run)
		REFUSE(ans, EBUSY, "vm ", vm->config.name, " is ", core_vm_state_name(vm->state),
		       ": only a running VM can be migrated");
	if (!core_node_ok(st, vm->node))
		REFUSE(ans, EHOSTDOWN, "vm ", vm->config.name, ": its node ", st->nodes[vm->node].name,
		       " is ", core_node_state_name(st->nodes[vm->node].state));
	if (vm->copies != CORE_NODE_BIT(vm->node))
		REFUSE(ans, EBUSY, "vm ", vm->config.name,
		       ": what is left of its last migration is still being removed");
	if (cmd->target[0]) {
		n = core_node_find(st, cmd->target);
		if (!n)
			REFUSE(ans, ENOENT, "node ", cmd->target, ": there is no such node");
		if (n->id == vm->node)
			REFUSE(ans, EALREADY, "vm ", vm->config.name, " is on node ", n->name,
			       " already");
		if (!core_node_up(st, n->id))
			REFUSE(ans, EHOSTDOWN, "node ", n->name, " is ",
			       core_node_state_name(n->state), ": it takes no VMs");
		core_explain_fit(st, vm, n->id, why, sizeof(why));
		if (why[0])
			REFUSE(ans, ENOMEM, "vm ", vm->config.name, " to node ", n->name, ": ", why);
		target = n->id;
	} else {
		target = core_place(st, vm, CORE_NODE_BIT(vm->node));
	}
	if (!target) {
		core_explain_nowhere(st, vm, CORE_NODE_BIT(vm->node), why, sizeof(why));
		REFUSE(ans, ENOMEM, "vm ", vm->config.name, ": no other node can take it",
		       why[0] ? ": " : "", why);
	}
	if (quick && (!vm->config.disk_count || vm->config.disks[0].volume == CORE_NONE))
		REFUSE(ans, EINVAL, "vm ", vm->config.name,
		       ": its first disk is on no volume, so there is no place to save it to");
	err = core_migrate_start(st, vm, target, quick ? CORE_RUNG_QUICK : CORE_RUNG_THROTTLED, false);
	if (err)
		REFUSE(ans, -err, "too much is going on; try again");
	vm->home = 0;
	vm->migration.job = core_job_new(st, cmd->kind, CORE_OBJECT_VM, core_vm_index(st, vm),
					 vm->config.name);
	ans->job = vm->migration.job;
}

static void op_vm(struct core_state *st, const struct core_command *cmd, struct core_answer *ans)
{
	struct core_vm *vm = (struct core_vm *)core_vm_find(st, cmd->name, NULL);
	struct core_migration *m;

	if (!vm)
		REFUSE(ans, ENOENT, "vm ", cmd->name, ": there is no such VM");
	m = &vm->migration;
	if (vm->state == CORE_VM_DELETING) {
		if (cmd->kind != CORE_CMD_VM_DELETE || cmd->keep)
			REFUSE(ans, EBUSY, "vm ", cmd->name, " is being deleted");
		ans->job = vm->job;
		return;
	}
	switch (cmd->kind) {
	case CORE_CMD_VM_START:
		op_vm_start(st, vm, cmd, ans);
		break;
	case CORE_CMD_VM_STOP:
		op_vm_stop(st, vm, cmd, ans);
		break;
	case CORE_CMD_VM_DELETE:
		if (vm->state != CORE_VM_STOPPED && vm->state != CORE_VM_FAILED &&
		    vm->state != CORE_VM_CREATING)
			REFUSE(ans, EBUSY, "vm ", cmd->name, " is ", core_vm_state_name(vm->state),
			       ": stop it first");
		if (cmd->keep && vm->state == CORE_VM_CREATING)
			REFUSE(ans, EBUSY, "vm ", cmd->name,
			       " is being created: its disks cannot be kept yet");
		vm->run = false;
		vm_job(st, vm, cmd, ans);
		/* What it did not make is not deleted: from here on it made none of them. */
		for (uint8_t i = 0; cmd->keep && i < vm->config.disk_count; i++)
			vm->config.disks[i].created = false;
		core_vm_set(st, vm, CORE_VM_DELETING, CORE_WHY_OPERATOR, 0, 0, 0);
		break;
	case CORE_CMD_VM_MIGRATE:
		op_vm_migrate(st, vm, cmd, ans);
		break;
	case CORE_CMD_VM_SET:
		core_op_vm_set(st, vm, cmd, ans);
		break;
	case CORE_CMD_VM_CANCEL:
		if (vm->state != CORE_VM_LIVE ||
		    (m->phase != CORE_MIG_INCOMING && m->phase != CORE_MIG_COPY))
			REFUSE(ans, EINVAL, "vm ", cmd->name, " is ",
			       vm->state == CORE_VM_LIVE ? core_migration_phase_name(m->phase) :
							   core_vm_state_name(vm->state),
			       ": only a live migration that is not committed can be cancelled");
		core_migrate_abort(st, vm, CORE_WHY_MIG_CANCELLED, vm->node, 0);
		break;
	}
}

void core_operator(struct core_state *st, const struct core_command *cmd,
		   struct core_answer *ret_answer)
{
	if (cmd->kind != CORE_CMD_INIT && !st->name[0])
		REFUSE(ret_answer, EINVAL, "there is no cluster yet");
	switch (cmd->kind) {
	case CORE_CMD_INIT:
		op_init(st, cmd, ret_answer);
		break;
	case CORE_CMD_CLUSTER_SET:
		op_cluster_set(st, cmd, ret_answer);
		break;
	case CORE_CMD_CLUSTER_DISARM:
		op_disarm(st, cmd, ret_answer);
		break;
	case CORE_CMD_CLUSTER_ARM:
		op_arm(st, ret_answer);
		break;
	case CORE_CMD_CLUSTER_LEVEL:
		op_level(st, ret_answer);
		break;
	case CORE_CMD_NODE_ADD:
		op_node_add(st, cmd, ret_answer);
		break;
	case CORE_CMD_NODE_PAUSE:
	case CORE_CMD_NODE_RESUME:
	case CORE_CMD_NODE_CONFIRM:
		op_node(st, cmd, ret_answer);
		break;
	case CORE_CMD_VOLUME_ADD:
		op_volume_add(st, cmd, ret_answer);
		break;
	case CORE_CMD_VOLUME_MOVE:
		op_volume_move(st, cmd, ret_answer);
		break;
	case CORE_CMD_VM_CREATE:
		op_vm_create(st, cmd, ret_answer);
		break;
	case CORE_CMD_VM_CHANGE:
		op_vm_change(st, cmd, ret_answer);
		break;
	case CORE_CMD_BATCH_PART:
		core_batch_part(st, cmd, ret_answer);
		break;
	case CORE_CMD_BATCH_APPLY:
		core_batch_apply(st, cmd, ret_answer);
		break;
	default:
		op_vm(st, cmd, ret_answer);
		break;
	}
}
