/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A core alone, fed with entries: what the tests of its files share. */
#ifndef TESTS_CORE_FLOW_H
#define TESTS_CORE_FLOW_H

#include <stdbool.h>
#include <string.h>

#include "clusterd/core/core.h"
#include "clusterd/core/timing.h"

static struct core_state st;
static struct core_answer ans;
static uint64_t flow_wall_ms; /* the clock of every entry */

static inline struct core_command *flow_cmd(uint8_t kind, const char *name)
{
	static struct core_command cmd;

	memset(&cmd, 0, sizeof(cmd));
	cmd.kind = kind;
	cmd.wall_ms = flow_wall_ms;
	strcpy(cmd.name, name);
	return &cmd;
}

static inline int flow_apply(struct core_command *cmd)
{
	static struct core_command scratch;
	static uint8_t bytes[8192];
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	core_apply(&st, st.applied_seq + 1, bytes, (size_t)len, &scratch, &ans);
	return ans.err;
}

static inline void flow_members(core_nodes members, core_nodes alive)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_MEMBERS, "");

	cmd->members = members;
	cmd->alive = alive;
	flow_apply(cmd);
}

/* A hello of a node that runs nothing; change it, then apply it. */
static inline struct core_command *flow_hello_cmd(uint8_t node, uint8_t boot)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_HELLO, "");

	cmd->node = node;
	cmd->uuid[0] = boot;
	cmd->memory_mib = 4096;
	cmd->level = CORE_LEVEL;
	cmd->seen_seq = st.applied_seq;
	return cmd;
}

static inline void flow_hello(uint8_t node, uint8_t boot)
{
	flow_apply(flow_hello_cmd(node, boot));
}

static inline void flow_tick(uint32_t ms)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_TICK, "");

	cmd->delta_ms = ms;
	cmd->seen_seq = st.applied_seq;
	flow_apply(cmd);
}

static inline const struct core_effect *flow_effect(uint8_t kind, uint8_t node)
{
	for (uint16_t i = 0; i < st.effect_count; i++)
		if (st.effects[i].kind == kind && (!node || st.effects[i].node == node))
			return &st.effects[i];
	return NULL;
}

/* Answers one effect of this kind; false if there is none. */
static inline bool flow_answer(uint8_t kind, uint8_t node, enum cl_outcome outcome, uint16_t code)
{
	const struct core_effect *fx = flow_effect(kind, node);
	struct core_command *cmd = flow_cmd(CORE_CMD_RESULT, "");

	if (!fx)
		return false;
	cmd->result.id = fx->id;
	cmd->result.outcome = (uint8_t)outcome;
	cmd->result.code = code;
	cmd->result.values[0] = 7410;
	flow_apply(cmd);
	return true;
}

/* Everything that is asked succeeds, but for one kind (0: none). */
static inline void flow_settle(uint8_t but)
{
	for (unsigned n = 0; n < 200; n++) {
		const struct core_effect *fx = NULL;

		for (uint16_t i = 0; i < st.effect_count && !fx; i++)
			if (st.effects[i].kind && st.effects[i].kind != but)
				fx = &st.effects[i];
		if (!fx)
			return;
		flow_answer(fx->kind, fx->node, CL_DONE, 0);
	}
}

/* A command that makes a VM with a disk of its own; change it, then flow_create() it. */
static inline struct core_command *flow_vm_cmd(const char *name, uint32_t memory_mib)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_VM_CREATE, "");

	strcpy(cmd->vm.name, name);
	strcpy(cmd->vm.kernel, "/k");
	cmd->vm.memory_mib = memory_mib;
	cmd->vm.cpus = 1;
	cmd->vm.disk_count = 1;
	strcpy(cmd->volume_names[0], "data");
	strcpy(cmd->vm.disks[0].path, name);
	cmd->vm.disks[0].size_bytes = 1 << 20;
	return cmd;
}

/* Three nodes up, one volume "data", one VM "web" that runs. */
static inline void flow_cluster(void)
{
	struct core_command *cmd;

	core_state_init(&st);
	cmd = flow_cmd(CORE_CMD_INIT, "demo");
	cmd->node = 1;
	strcpy(cmd->target, "n1");
	flow_apply(cmd);
	for (uint8_t id = 2; id <= 3; id++) {
		cmd = flow_cmd(CORE_CMD_NODE_ADD, id == 2 ? "n2" : "n3");
		flow_apply(cmd);
	}
	flow_members(7, 7);
	for (uint8_t id = 1; id <= 3; id++)
		flow_hello(id, id);
	for (uint8_t id = 2; id <= 3; id++) {
		cmd = flow_cmd(CORE_CMD_VOTE, "");
		cmd->node = id;
		flow_apply(cmd);
	}
	cmd = flow_cmd(CORE_CMD_VOLUME_ADD, "data");
	strcpy(cmd->lun, "naa.1");
	flow_apply(cmd);
	flow_settle(0);
	cmd = flow_vm_cmd("web", 1024);
	strcpy(cmd->vm.disks[0].path, "web.img");
	flow_apply(cmd);
	flow_settle(0);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	flow_settle(0);
}

static inline struct core_command *flow_setting_cmd(const char *name, uint32_t value)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_CLUSTER_SET, "");

	cmd->set_count = 1;
	cmd->sets[0] = (struct core_set){ .setting = (uint8_t)core_setting_find(name), .value = value };
	return cmd;
}

static inline int flow_setting(const char *name, uint32_t value)
{
	return flow_apply(flow_setting_cmd(name, value));
}

static inline const struct core_vm *flow_vm(const char *name)
{
	return core_vm_find(&st, name, NULL);
}

/* Makes and starts it; the start's effects are answered. */
static inline const struct core_vm *flow_create(struct core_command *cmd)
{
	char name[CL_NAME_MAX];

	strcpy(name, cmd->vm.name);
	if (flow_apply(cmd))
		return NULL;
	flow_settle(0);
	flow_apply(flow_cmd(CORE_CMD_VM_START, name));
	flow_settle(0);
	return flow_vm(name);
}

static inline int flow_vm_set(const char *name, uint32_t set, const struct core_vm_policy *policy)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_VM_SET, name);

	cmd->set = set;
	cmd->policy = *policy;
	return flow_apply(cmd);
}

/* The node is lost, fenced, and its hold is over; starts of its VMs are out. */
static inline void flow_lose(uint8_t node)
{
	core_nodes rest = st.members & (core_nodes)~CORE_NODE_BIT(node);

	flow_members(rest, rest);
	flow_settle(CORE_FX_VM_START);
	flow_tick(st.timing.takeover_ms + 1000);
	flow_settle(CORE_FX_VM_START);
}

/* It comes back with a new boot. */
static inline void flow_return(uint8_t node, uint8_t boot)
{
	flow_members(st.members | CORE_NODE_BIT(node), st.members | CORE_NODE_BIT(node));
	flow_hello(node, boot);
	flow_settle(0);
}

static inline const struct core_vm *flow_web(void)
{
	return core_vm_find(&st, "web", NULL);
}

#endif
