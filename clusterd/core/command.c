/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries' bytes (docs/formats/log.md).  Each kind has its own fields; decoding refuses the
 * whole entry when anything is short, long or out of range.
 *
 * One function per kind does both directions, so that they cannot differ: `struct coder` either
 * writes or reads.
 */
#include "clusterd/core/coder.h"
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

/* Above every size; before CORE_LEVEL_CAUSES nobody sets it. */
#define DISK_READONLY (1ull << 63)

void core_disk_code(struct coder *c, struct core_disk *disk)
{
	uint64_t v = disk->size_bytes | (disk->readonly ? DISK_READONLY : 0);

	code_u64(c, &v);
	disk->readonly = (v & DISK_READONLY) != 0;
	disk->size_bytes = v & ~DISK_READONLY;
}

static void code_vm(struct coder *c, struct core_command *cmd)
{
	struct core_vm_config *v = &cmd->vm;
	uint8_t i;

	CODE_STR(c, v->name);
	code_bytes(c, v->uuid, sizeof(v->uuid));
	code_u32(c, &v->memory_mib);
	code_u16(c, &v->cpus);
	CODE_STR(c, v->kernel);
	CODE_STR(c, v->initrd);
	CODE_STR(c, v->append);
	code_u8(c, &v->disk_count);
	code_u8(c, &v->net_count);
	if (c->r && (v->disk_count > CORE_DISKS_MAX || v->net_count > CORE_NETS_MAX ||
		     v->memory_mib > 1u << 24)) {
		c->r->bad = true;
		v->disk_count = v->net_count = 0;
	}
	for (i = 0; i < v->disk_count; i++) {
		CODE_STR(c, cmd->volume_names[i]);
		CODE_STR(c, v->disks[i].path);
		core_disk_code(c, &v->disks[i]);
		if (c->r)
			v->disks[i].volume = CORE_NONE;
	}
	for (i = 0; i < v->net_count; i++) {
		CODE_STR(c, v->nets[i].network);
		code_bytes(c, v->nets[i].mac, sizeof(v->nets[i].mac));
	}
}

/* The fields that it sets, and no others. */
static void code_policy(struct coder *c, struct core_command *cmd)
{
	code_u32(c, &cmd->set);
	if (c->r && (cmd->set & ~(uint32_t)CORE_SET_VM_ALL))
		c->r->bad = true;
	core_policy_code(c, &cmd->policy, cmd->set);
}

static void code_report(struct coder *c, struct core_command *cmd)
{
	uint16_t i;

	code_u16(c, &cmd->report_count);
	if (c->r && cmd->report_count > CORE_REPORT_MAX) {
		c->r->bad = true;
		cmd->report_count = 0;
	}
	for (i = 0; i < cmd->report_count; i++) {
		code_u64(c, &cmd->report[i].name_hash);
		code_u64(c, &cmd->report[i].generation);
		code_u8(c, &cmd->report[i].seen);
	}
}

static void code_result(struct coder *c, struct core_result *r)
{
	code_u64(c, &r->id);
	code_u8(c, &r->outcome);
	code_u16(c, &r->code);
	code_u64(c, &r->values[0]);
	code_u64(c, &r->values[1]);
	CODE_STR(c, r->text);
	if (c->r && r->outcome > CL_UNKNOWN)
		c->r->bad = true;
}

static void code_sets(struct coder *c, struct core_command *cmd)
{
	uint8_t i;

	code_u8(c, &cmd->set_count);
	if (c->r && cmd->set_count > CORE_SETS_MAX) {
		c->r->bad = true;
		cmd->set_count = 0;
	}
	for (i = 0; i < cmd->set_count; i++) {
		code_u8(c, &cmd->sets[i].setting);
		code_u32(c, &cmd->sets[i].value);
		if (c->r && cmd->sets[i].setting >= core_setting_count())
			c->r->bad = true;
	}
}

static void code_command(struct coder *c, struct core_command *cmd)
{
	code_u8(c, &cmd->kind);
	code_u64(c, &cmd->wall_ms);
	switch (cmd->kind) {
	case CORE_CMD_INIT:
		code_node(c, &cmd->node, false);
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->target);
		CODE_STR(c, cmd->address);
		CODE_STR(c, cmd->vm_address);
		code_bytes(c, cmd->uuid, sizeof(cmd->uuid));
		code_u32(c, &cmd->timing.freeze_kill_ms);
		code_u32(c, &cmd->timing.takeover_ms);
		code_u32(c, &cmd->timing.silent_ms);
		code_u32(c, &cmd->timing.retry_ms);
		break;
	case CORE_CMD_NODE_ADD:
		code_node(c, &cmd->node, true);
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->address);
		CODE_STR(c, cmd->vm_address);
		break;
	case CORE_CMD_NODE_PAUSE:
		CODE_STR(c, cmd->name);
		code_bool(c, &cmd->drain);
		break;
	case CORE_CMD_NODE_RESUME:
		CODE_STR(c, cmd->name);
		code_bool(c, &cmd->failback);
		break;
	case CORE_CMD_NODE_CONFIRM:
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->text);
		break;
	case CORE_CMD_VOLUME_ADD:
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->lun);
		code_bytes(c, cmd->uuid, sizeof(cmd->uuid));
		code_bool(c, &cmd->force);
		break;
	case CORE_CMD_VOLUME_MOVE:
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->target);
		break;
	case CORE_CMD_VM_CREATE:
		code_vm(c, cmd);
		code_bool(c, &cmd->adopt);
		code_policy(c, cmd);
		break;
	case CORE_CMD_VM_SET:
		CODE_STR(c, cmd->name);
		code_policy(c, cmd);
		break;
	case CORE_CMD_VM_CHANGE:
		code_vm(c, cmd);
		break;
	case CORE_CMD_BATCH_PART:
		code_u64(c, &cmd->batch);
		code_u32(c, &cmd->offset);
		code_u16(c, &cmd->part_len);
		if (c->r && cmd->part_len > CORE_PART_MAX) {
			c->r->bad = true;
			cmd->part_len = 0;
		}
		code_bytes(c, cmd->part, cmd->part_len);
		break;
	case CORE_CMD_BATCH_APPLY:
		code_u64(c, &cmd->batch);
		code_u32(c, &cmd->offset);
		break;
	case CORE_CMD_VM_START:
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->target);
		code_bool(c, &cmd->force);
		break;
	case CORE_CMD_VM_STOP:
		CODE_STR(c, cmd->name);
		code_bool(c, &cmd->force);
		break;
	case CORE_CMD_VM_DELETE:
		CODE_STR(c, cmd->name);
		/* Only where it is set, which nobody proposes before CORE_LEVEL_CAUSES. */
		if (c->r ? cl_reader_left(c->r) > 0 : cmd->keep) {
			code_bool(c, &cmd->keep);
			if (c->r && !cmd->keep)
				c->r->bad = true;
		}
		break;
	case CORE_CMD_VM_CANCEL:
		CODE_STR(c, cmd->name);
		break;
	case CORE_CMD_VM_MIGRATE:
		CODE_STR(c, cmd->name);
		CODE_STR(c, cmd->target);
		code_u8(c, &cmd->method);
		if (c->r && cmd->method > CORE_METHOD_QUICK)
			c->r->bad = true;
		break;
	case CORE_CMD_CLUSTER_SET:
		code_sets(c, cmd);
		break;
	case CORE_CMD_CLUSTER_DISARM:
	case CORE_CMD_CLUSTER_ARM:
		CODE_STR(c, cmd->text);
		break;
	case CORE_CMD_CLUSTER_LEVEL:
		break;
	case CORE_CMD_MEMBERS:
		code_u16(c, &cmd->members);
		code_u16(c, &cmd->alive);
		break;
	case CORE_CMD_HELLO:
		code_node(c, &cmd->node, false);
		code_bytes(c, cmd->uuid, sizeof(cmd->uuid));
		code_u32(c, &cmd->memory_mib);
		code_u16(c, &cmd->cpus);
		code_u8(c, &cmd->level);
		code_u64(c, &cmd->seen_seq);
		code_u64(c, &cmd->csvd);
		code_report(c, cmd);
		break;
	case CORE_CMD_VOTE:
		code_node(c, &cmd->node, false);
		break;
	case CORE_CMD_TICK:
		code_u32(c, &cmd->delta_ms);
		code_u64(c, &cmd->seen_seq);
		break;
	case CORE_CMD_RESULT:
		code_result(c, &cmd->result);
		break;
	case CORE_CMD_VM_EXIT:
		code_node(c, &cmd->node, false);
		code_u32(c, &cmd->incarnation);
		CODE_STR(c, cmd->name);
		code_u64(c, &cmd->generation);
		code_u8(c, &cmd->exit);
		/* From CORE_LEVEL_CAUSES on: nobody proposes it before. */
		if (c->r ? cl_reader_left(c->r) > 0 : cmd->text[0] != '\0')
			CODE_STR(c, cmd->text);
		break;
	case CORE_CMD_VM_TROUBLE:
		code_node(c, &cmd->node, false);
		code_u32(c, &cmd->incarnation);
		CODE_STR(c, cmd->name);
		code_u64(c, &cmd->generation);
		code_u8(c, &cmd->trouble);
		if (c->r && cmd->trouble > CORE_TROUBLE_IO_ERROR)
			c->r->bad = true;
		CODE_STR(c, cmd->text);
		break;
	case CORE_CMD_STORAGE:
		code_bool(c, &cmd->force);
		/* fall through */
	case CORE_CMD_KEY_LOST:
	case CORE_CMD_CSVD_LOST:
		code_node(c, &cmd->node, false);
		code_u32(c, &cmd->incarnation);
		CODE_STR(c, cmd->name);
		break;
	default:
		if (c->r)
			c->r->bad = true;
		else
			c->w->bad = true;
	}
}

long core_command_encode(const struct core_command *cmd, void *data, size_t cap_bytes)
{
	struct cl_writer w;
	struct coder c = { .w = &w };

	cl_writer_init(&w, data, cap_bytes);
	code_command(&c, (struct core_command *)cmd); /* a writer changes nothing */
	return cl_writer_done(&w);
}

int core_command_decode(struct core_command *ret_cmd, const void *data, size_t len_bytes)
{
	struct cl_reader r;
	struct coder c = { .r = &r };

	/* The big arrays are filled as far as their counts say. */
	memset(ret_cmd, 0, offsetof(struct core_command, report));
	cl_reader_init(&r, data, len_bytes);
	code_command(&c, ret_cmd);
	return cl_reader_done(&r) ? -EBADMSG : 0;
}
