/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/storage.c: a LUN that does not answer a node, and who is given up for it. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "tests/unit/unit.h"

static void say(uint8_t node, bool mute)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_STORAGE, "data");

	cmd->node = node;
	cmd->incarnation = st.nodes[node].incarnation;
	cmd->force = mute;
	flow_apply(cmd);
}

static uint8_t host(void)
{
	return st.vms[0].node;
}

static uint8_t begin(void)
{
	flow_cluster();
	CU_ASSERT_EQUAL_FATAL(st.vms[0].state, CORE_VM_RUNNING);
	return host();
}

static void given_up_when_others_are_answered(void)
{
	uint8_t node = begin();
	static char text[32768];

	say(node, true);
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(st.tick_ms, CORE_TICK_MS);
	flow_tick(CORE_STORAGE_SETTLE_MS - 1);
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
	flow_tick(1);
	CU_ASSERT_TRUE(st.nodes[node].doomed);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_FENCE, 0));
	CU_ASSERT_EQUAL(core_why(&st, CORE_OBJECT_NODE, st.nodes[node].name, text, sizeof(text)),
			0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "does not answer it, and answers others: volume data"));
	/* It holds nothing of the LUN any more, and is let in again: without the volume. */
	flow_settle(CORE_FX_VOL_JOIN);
	flow_tick(CORE_TAKEOVER_MS);
	flow_settle(CORE_FX_VOL_JOIN);
	CU_ASSERT_EQUAL(st.vms[0].state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(host(), node);
	CU_ASSERT_TRUE(flow_answer(CORE_FX_VOL_JOIN, node, CL_FAILED, EIO));
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(st.volumes[0].mute, 0);
}

static void not_when_nobody_is_answered(void)
{
	uint8_t node = begin(), id;

	for (id = 1; id <= 3; id++)
		say(id, true);
	flow_tick(10 * CORE_STORAGE_SETTLE_MS);
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
	/* One is answered again: now there is a better place. */
	say(node % 3 + 1, false);
	CU_ASSERT_TRUE(st.nodes[node].doomed);
}

static void back_in_time(void)
{
	uint8_t node = begin();

	say(node, true);
	say(node, true);
	flow_tick(CORE_STORAGE_SETTLE_MS - 1);
	say(node, false);
	flow_tick(60000);
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(st.volumes[0].mute, 0);
	CU_ASSERT_EQUAL(st.tick_ms, 0);
}

/* It neither owns nor runs: nothing to lose, and nothing new is put there. */
static void idle_is_left_alone(void)
{
	uint8_t node = begin(), idle, id;

	for (idle = 1; idle == node || idle == st.volumes[0].owner; idle++)
		;
	say(idle, true);
	flow_tick(60000);
	CU_ASSERT_EQUAL(st.nodes[idle].state, CORE_NODE_UP);
	for (id = 1; id <= 3; id++)
		if (id != idle && id != node) {
			flow_apply(flow_cmd(CORE_CMD_NODE_PAUSE, id == 1   ? "n1"
								 : id == 2 ? "n2"
									   : "n3"));
			CU_ASSERT_EQUAL(ans.err, 0);
		}
	flow_apply(flow_vm_cmd("two", 512));
	flow_settle(0);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "two"));
	flow_settle(0);
	CU_ASSERT_EQUAL(st.vms[1].node, node);
}

static void disarmed_or_of_another_time(void)
{
	uint8_t node = begin();
	struct core_command *cmd;

	flow_apply(flow_cmd(CORE_CMD_CLUSTER_DISARM, ""));
	say(node, true);
	flow_tick(60000);
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
	flow_apply(flow_cmd(CORE_CMD_CLUSTER_ARM, ""));
	CU_ASSERT_TRUE(st.nodes[node].doomed);
	node = begin();
	cmd = flow_cmd(CORE_CMD_STORAGE, "data");
	cmd->node = node;
	cmd->incarnation = st.nodes[node].incarnation + 1;
	cmd->force = true;
	flow_apply(cmd);
	CU_ASSERT_EQUAL(st.volumes[0].mute, 0);
}

/* What nodes of the level before know nothing of is neither in a snapshot nor settable. */
static void the_level_before(void)
{
	static uint8_t bytes[1 << 20], other[1 << 20];
	static struct core_state copy;
	struct core_command *cmd;
	uint8_t node = begin();
	long len, len_3;

	say(node, true);
	len = core_snapshot_encode(&st, bytes, sizeof(bytes));
	CU_ASSERT_EQUAL_FATAL(core_snapshot_decode(&copy, bytes, (size_t)len), 0);
	CU_ASSERT_EQUAL(copy.volumes[0].mute, CORE_NODE_BIT(node));
	CU_ASSERT_EQUAL(copy.settings.storage_ms, CORE_STORAGE_MS);
	st.level = CORE_LEVEL_STORAGE - 1;
	len_3 = core_snapshot_encode(&st, other, sizeof(other));
	CU_ASSERT(len_3 < len);
	CU_ASSERT_EQUAL_FATAL(core_snapshot_decode(&copy, other, (size_t)len_3), 0);
	CU_ASSERT_EQUAL(copy.settings.storage_ms, CORE_STORAGE_MS);
	cmd = flow_cmd(CORE_CMD_CLUSTER_SET, "");
	cmd->set_count = 1;
	cmd->sets[0].setting = (uint8_t)core_setting_find("storage-ms");
	cmd->sets[0].value = 20000;
	CU_ASSERT_EQUAL(flow_apply(cmd), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(ans.text, "cluster level"));
	st.level = CORE_LEVEL;
	cmd->sets[0].value = 4999;
	CU_ASSERT_EQUAL(flow_apply(cmd), -EINVAL);
	cmd->sets[0].value = 20000;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	CU_ASSERT_EQUAL(st.settings.storage_ms, 20000);
}

UNIT_MAIN("core storage", { "given up", given_up_when_others_are_answered },
	  { "nobody is answered", not_when_nobody_is_answered }, { "back in time", back_in_time },
	  { "an idle node", idle_is_left_alone },
	  { "disarmed, or of another time", disarmed_or_of_another_time },
	  { "the level before", the_level_before })
