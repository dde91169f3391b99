/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch: commands that take effect in one entry, all or none (`config import`).
 *
 * An entry is too small for them, so the bytes (u16 length and an encoded command, again and again) come in
 * parts and are kept in the state until BATCH_APPLY.  That checks every command against the state and
 * against those before it in the batch, and then runs them; a check that passed means that the
 * command is taken.  A change of membership drops what was collected.
 */
#include <errno.h>
#include <string.h>

#include "clusterd/core/internal.h"

#define REFUSE CORE_REFUSE

void core_batch_part(struct core_state *st, const struct core_command *cmd, struct core_answer *ans)
{
	struct core_batch *b = &st->batch;

	if (!cmd->batch)
		REFUSE(ans, EINVAL, "a batch needs a number");
	if (!cmd->offset) {
		b->id = cmd->batch;
		b->len_bytes = 0;
	}
	if (b->id != cmd->batch || b->len_bytes != cmd->offset)
		REFUSE(ans, ESTALE, "another import came in between; nothing was changed: try again");
	if (cmd->part_len > sizeof(b->bytes) - b->len_bytes)
		REFUSE(ans, EFBIG, "that is too much for one import (256 KiB of changes); nothing was changed");
	memcpy(b->bytes + b->len_bytes, cmd->part, cmd->part_len);
	b->len_bytes += cmd->part_len;
}

/* ---- checking ------------------------------------------------------------------------------- */

/* What the commands before this one in the batch take. */
struct taken {
	char created[CL_NAME_MAX]; /* last VM: creations come in the order of names */
	char changed[CL_NAME_MAX];
	unsigned slots;
	bool set;
	unsigned disks;
	uint64_t disk[CORE_VMS_MAX];
	unsigned macs;
	uint64_t mac[CORE_VMS_MAX * CORE_NETS_MAX];
};

static unsigned slots_free(const struct core_state *st)
{
	unsigned left = CORE_VMS_MAX - st->vm_count;

	for (uint16_t i = 0; i < st->vm_count; i++)
		left += st->vms[i].state == CORE_VM_UNUSED;
	return left;
}

/* Two of one import may not have the same either. */
static void macs_take(const struct core_command *cmd, struct taken *taken, struct core_answer *ans)
{
	for (uint8_t k = 0; k < cmd->vm.net_count; k++) {
		uint64_t mac = cl_hash64(0, cmd->vm.nets[k].mac, 6);

		for (unsigned i = 0; i < taken->macs; i++)
			if (taken->mac[i] == mac)
				REFUSE(ans, EEXIST, "vm ", cmd->vm.name,
				       ": a MAC of it is that of another VM of this import");
		if (taken->macs < CL_ARRAY_LEN(taken->mac))
			taken->mac[taken->macs++] = mac;
	}
}

static void create_check(const struct core_state *st, const struct core_command *cmd,
			 struct taken *taken, struct core_answer *ans)
{
	core_vm_create_check(st, cmd, ans);
	if (ans->err)
		return;
	if (strcmp(cmd->vm.name, taken->created) <= 0)
		REFUSE(ans, EINVAL, "vm ", cmd->vm.name, ": there is one of this name already");
	core_str_copy(taken->created, sizeof(taken->created), cmd->vm.name);
	if (!taken->slots)
		REFUSE(ans, ENOSPC, "vm ", cmd->vm.name, ": there are too many VMs");
	taken->slots--;
	if (st->level >= CORE_LEVEL_IDENTITY)
		macs_take(cmd, taken, ans);
	if (ans->err)
		return;
	for (uint8_t d = 0; d < cmd->vm.disk_count; d++) {
		uint64_t hash = cl_hash64(core_name_hash(cmd->volume_names[d]), cmd->vm.disks[d].path,
					  strlen(cmd->vm.disks[d].path));

		if (!cmd->volume_names[d][0])
			continue;
		for (unsigned i = 0; i < taken->disks; i++)
			if (taken->disk[i] == hash)
				REFUSE(ans, EBUSY, "vm ", cmd->vm.name, ": disk ",
				       cmd->vm.disks[d].path, " belongs to another VM");
		if (taken->disks == CL_ARRAY_LEN(taken->disk))
			REFUSE(ans, EFBIG, "too many disks for one import");
		taken->disk[taken->disks++] = hash;
	}
}

static void set_check(const struct core_state *st, const struct core_command *cmd,
		      struct core_answer *ans)
{
	const struct core_vm *vm = core_vm_find(st, cmd->name, NULL);
	struct core_vm_policy policy;

	if (!vm)
		REFUSE(ans, ENOENT, "vm ", cmd->name, ": there is no such VM");
	if (vm->state == CORE_VM_DELETING)
		REFUSE(ans, EBUSY, "vm ", cmd->name, " is being deleted");
	policy = vm->policy;
	core_policy_take(st, &policy, cmd, cmd->name, ans);
}

static void one_check(const struct core_state *st, const struct core_command *cmd,
		      struct taken *taken, struct core_answer *ans)
{
	switch (cmd->kind) {
	case CORE_CMD_CLUSTER_SET:
		if (taken->set)
			REFUSE(ans, EINVAL, "settings are named twice");
		taken->set = true;
		if (core_settings_check(st, cmd->sets, cmd->set_count, ans->text, sizeof(ans->text)))
			ans->err = -EINVAL;
		return;
	case CORE_CMD_VM_CREATE:
		create_check(st, cmd, taken, ans);
		return;
	case CORE_CMD_VM_SET:
		set_check(st, cmd, ans);
		return;
	case CORE_CMD_VM_CHANGE:
		core_vm_change_check(st, cmd, ans);
		if (!ans->err && strcmp(cmd->vm.name, taken->changed) <= 0)
			REFUSE(ans, EINVAL, "vm ", cmd->vm.name, " is named twice");
		core_str_copy(taken->changed, sizeof(taken->changed), cmd->vm.name);
		return;
	}
	REFUSE(ans, EINVAL, core_command_name(cmd->kind), ": that cannot be done in an import");
}

/* Takes the command at *at; false at the end or at what is no command (then *ret_bad). */
static bool next(const struct core_batch *b, uint32_t *at, struct core_command *cmd, bool *ret_bad)
{
	uint32_t len;

	*ret_bad = false;
	if (*at == b->len_bytes)
		return false;
	*ret_bad = true;
	if (b->len_bytes - *at < 2)
		return false;
	len = b->bytes[*at] | (uint32_t)b->bytes[*at + 1] << 8;
	*at += 2;
	if (len > b->len_bytes - *at || core_command_decode(cmd, b->bytes + *at, len))
		return false;
	*at += len;
	*ret_bad = false;
	return true;
}

void core_batch_apply(struct core_state *st, const struct core_command *cmd, struct core_answer *ans)
{
	struct core_batch *b = &st->batch;
	struct taken taken = { .slots = slots_free(st) };
	struct core_command one;
	unsigned count = 0;
	uint32_t at = 0;
	bool bad;

	if (b->id != cmd->batch || b->len_bytes != cmd->offset)
		REFUSE(ans, ESTALE, "the import was interrupted; nothing was changed: try again");
	b->id = 0;
	while (next(b, &at, &one, &bad)) {
		one_check(st, &one, &taken, ans);
		if (ans->err)
			break;
	}
	if (bad && !ans->err) {
		ans->err = -EBADMSG;
		core_str_copy(ans->text, sizeof(ans->text), "malformed batch");
	}
	for (at = 0; !ans->err && next(b, &at, &one, &bad);) {
		core_operator(st, &one, ans);
		count++;
	}
	b->len_bytes = 0;
	ans->job = 0;
	if (!ans->err)
		core_trace_add(st, CORE_OBJECT_CLUSTER, st->name, 1, 1, CORE_WHY_BATCH_APPLIED, 0, count,
			       0);
}
