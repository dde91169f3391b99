/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster as a whole: settings, the pace of its time, quarantine, maintenance, functional level. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "clusterd/core/model.h"
#include "clusterd/core/timing.h"
#include "tests/unit/unit.h"

static uint8_t host;

static void lose(uint8_t node)
{
	flow_members(7 & ~CORE_NODE_BIT(node), 7 & ~CORE_NODE_BIT(node));
	flow_settle(0);
	flow_tick(st.timing.takeover_ms);
	flow_settle(0);
}

/* It comes back; boot 0: the same boot. */
static void back(uint8_t node, uint8_t boot)
{
	flow_members(7, 7);
	flow_hello(node, boot ? boot : node);
	flow_settle(0);
}

static int set(const char *name, uint32_t value)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_CLUSTER_SET, "");

	cmd->set_count = 1;
	cmd->sets[0].setting = (uint8_t)core_setting_find(name);
	cmd->sets[0].value = value;
	return flow_apply(cmd);
}

static bool why_has(enum core_object object, const char *name, const char *text)
{
	static char why[32768];

	return core_why(&st, object, name, why, sizeof(why)) == 0 && strstr(why, text);
}

static void settings(void)
{
	struct core_command *cmd;

	flow_cluster();
	CU_ASSERT_EQUAL(set("silent-ms", 30000), 0);
	CU_ASSERT_EQUAL(st.timing.silent_ms, 30000);
	CU_ASSERT_EQUAL(set("silent-ms", 1), -EINVAL);
	CU_ASSERT_STRING_EQUAL(ans.text, "silent-ms 1: allowed 5000 to 3600000");
	CU_ASSERT_EQUAL(set("takeover-ms", 9000), -EINVAL);
	CU_ASSERT_STRING_EQUAL(ans.text,
			       "not safe: freeze-kill-ms 5000 + kill 2000 + skew 4000 = 11000 must not be"
			       " more than takeover-ms 9000: a VM could start elsewhere before the node"
			       " that lost it has ended it");
	CU_ASSERT_EQUAL(st.timing.takeover_ms, CORE_TAKEOVER_MS);
	/* Each alone is refused, both together are safe. */
	CU_ASSERT_EQUAL(set("freeze-kill-ms", 8000), -EINVAL);
	cmd = flow_cmd(CORE_CMD_CLUSTER_SET, "");
	cmd->set_count = 2;
	cmd->sets[0].setting = (uint8_t)core_setting_find("freeze-kill-ms");
	cmd->sets[0].value = 8000;
	cmd->sets[1].setting = (uint8_t)core_setting_find("takeover-ms");
	cmd->sets[1].value = 14000;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	CU_ASSERT_EQUAL(st.timing.freeze_kill_ms, 8000);
	CU_ASSERT_EQUAL(core_setting_find("no-such-setting"), -ENOENT);
}

static void quarantine_after_three_losses(void)
{
	flow_cluster();
	for (uint8_t boot = 10; boot < 13; boot++) {
		CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
		lose(3);
		CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_DOWN);
		back(3, boot);
	}
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_QUARANTINED);
	CU_ASSERT_TRUE(why_has(CORE_OBJECT_NODE, "n3",
			       "lost 3 times within the quarantine period: it stays out for 120 minutes"));
	CU_ASSERT_EQUAL(st.volumes[0].attached, 3);
	CU_ASSERT_EQUAL(st.tick_ms, CORE_TICK_SLOW_MS);
	/* A reboot does not end it; an operator does. */
	lose(3);
	back(3, 14);
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_QUARANTINED);
	flow_apply(flow_cmd(CORE_CMD_NODE_RESUME, "n3"));
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
	/* All is forgiven: it takes three losses again. */
	lose(3);
	back(3, 15);
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
}

static void quarantine_ends_by_itself(void)
{
	flow_cluster();
	for (uint8_t boot = 10; boot < 13; boot++) {
		lose(3);
		back(3, boot);
	}
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_QUARANTINED);
	flow_tick(st.quarantine.time_s * 1000 - 1);
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_QUARANTINED);
	flow_tick(1);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(st.tick_ms, 0);
}

static void quarantine_has_limits(void)
{
	/* Losses that lie far apart do not count together. */
	flow_cluster();
	for (uint8_t boot = 10; boot < 14; boot++) {
		lose(3);
		back(3, boot);
		CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
		flow_tick(st.quarantine.period_s * 500);
	}
	/* Nor do those of a node that somebody works on. */
	flow_cluster();
	for (uint8_t boot = 10; boot < 14; boot++) {
		flow_apply(flow_cmd(CORE_CMD_NODE_PAUSE, "n3"));
		lose(3);
		back(3, boot);
		CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_PAUSED);
	}
	/* 0: never; and not before all nodes know it. */
	flow_cluster();
	CU_ASSERT_EQUAL(set("quarantine-losses", 0), 0);
	for (uint8_t boot = 10; boot < 14; boot++) {
		lose(3);
		back(3, boot);
	}
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
	flow_cluster();
	st.level = CORE_LEVEL_QUARANTINE - 1;
	for (uint8_t boot = 10; boot < 14; boot++) {
		lose(3);
		back(3, boot);
	}
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
	/* The last node is taken, whatever it did. */
	flow_cluster();
	for (uint8_t boot = 10; boot < 13; boot++) {
		lose(3);
		back(3, boot);
	}
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_QUARANTINED);
	flow_members(4, 4);
	flow_settle(0);
	CU_ASSERT_NOT_EQUAL(st.nodes[3].state, CORE_NODE_QUARANTINED);
}

static void disarmed_leaves_everything_alone(void)
{
	flow_cluster();
	host = flow_web()->node;
	strcpy(flow_cmd(CORE_CMD_CLUSTER_DISARM, "")->text, "alice");
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_CLUSTER_DISARM, "")), 0);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_CLUSTER_DISARM, "")), -EALREADY);
	flow_members(7 & ~CORE_NODE_BIT(host), 7 & ~CORE_NODE_BIT(host));
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_ISOLATED);
	flow_tick(10 * st.timing.silent_ms);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_ISOLATED);
	CU_ASSERT_EQUAL(st.effect_count, 0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(st.tick_ms, 0);
	/* It comes back as it was, its VM with it. */
	flow_members(7, 7);
	{
		struct core_command *cmd = flow_hello_cmd(host, host);

		cmd->report_count = 1;
		cmd->report[0].name_hash = core_name_hash("web");
		cmd->report[0].generation = flow_web()->generation;
		cmd->report[0].seen = CORE_SEEN_RUNNING;
		flow_apply(cmd);
	}
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(flow_web()->node, host);
}

static void disarmed_restarts_nothing(void)
{
	struct core_command *cmd;

	flow_cluster();
	host = flow_web()->node;
	flow_apply(flow_cmd(CORE_CMD_CLUSTER_DISARM, ""));
	cmd = flow_cmd(CORE_CMD_VM_EXIT, "web");
	cmd->node = host;
	cmd->incarnation = st.nodes[host].incarnation;
	cmd->generation = flow_web()->generation;
	cmd->exit = CORE_EXIT_ERROR;
	flow_apply(cmd);
	flow_tick(60000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_WAITING);
	CU_ASSERT_TRUE(why_has(CORE_OBJECT_VM, "web", "not restarted because the cluster is disarmed"));
	/* What an operator asks for is done. */
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
}

static void armed_again_fences(void)
{
	flow_cluster();
	host = flow_web()->node;
	flow_apply(flow_cmd(CORE_CMD_CLUSTER_DISARM, ""));
	flow_members(7 & ~CORE_NODE_BIT(host), 7 & ~CORE_NODE_BIT(host));
	flow_tick(500);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_CLUSTER_ARM, "")), 0);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_FENCING);
	/* Nothing told it to end its VMs before the fence did: the hold runs from the proof. */
	flow_tick(st.timing.takeover_ms);
	flow_answer(CORE_FX_FENCE, 0, CL_DONE, 0);
	flow_settle(CORE_FX_VM_START);
	flow_tick(st.timing.takeover_ms - 1);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_START, 0));
	flow_tick(1);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_START, 0));
	/* Disarmed in the middle of a fencing: no further try. */
	flow_cluster();
	host = flow_web()->node;
	flow_members(7 & ~CORE_NODE_BIT(host), 7 & ~CORE_NODE_BIT(host));
	flow_apply(flow_cmd(CORE_CMD_CLUSTER_DISARM, ""));
	flow_answer(CORE_FX_FENCE, 0, CL_UNKNOWN, 0);
	flow_tick(60000);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_FENCE, 0));
	CU_ASSERT_TRUE(why_has(CORE_OBJECT_NODE, st.nodes[host].name, "the cluster is disarmed"));
	flow_apply(flow_cmd(CORE_CMD_CLUSTER_ARM, ""));
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_FENCE, 0));
}

static void level_is_raised_when_all_know_it(void)
{
	flow_cluster();
	st.level = 1;
	st.nodes[2].level = 1;
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_CLUSTER_LEVEL, "")), -EALREADY);
	CU_ASSERT_PTR_NOT_NULL(strstr(ans.text, "node n2 knows no newer than 1"));
	st.nodes[2].level = CORE_LEVEL;
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_CLUSTER_LEVEL, "")), 0);
	CU_ASSERT_EQUAL(st.level, CORE_LEVEL);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_CLUSTER_LEVEL, "")), -EALREADY);
}

/* What passed at the slow pace does not shorten a deadline that was set meanwhile. */
static void slow_time_shortens_nothing(void)
{
	struct core_command *cmd;
	uint64_t seen, now;

	flow_cluster();
	lose(3);
	back(3, 10);
	CU_ASSERT_EQUAL(st.tick_ms, CORE_TICK_SLOW_MS);
	seen = st.applied_seq;
	flow_members(3, 3);
	CU_ASSERT_EQUAL(st.tick_ms, CORE_TICK_MS);
	now = st.now_ms;
	cmd = flow_cmd(CORE_CMD_TICK, "");
	cmd->delta_ms = 60000;
	cmd->seen_seq = seen;
	flow_apply(cmd);
	CU_ASSERT_EQUAL(st.now_ms, now);
	flow_tick(500);
	CU_ASSERT_EQUAL(st.now_ms, now + 500);
}

/* A node that is cut off may not know of a shorter deadline: what it may go by counts. */
static void shorter_hold_waits_for_the_node(void)
{
	flow_cluster();
	CU_ASSERT_EQUAL(set("takeover-ms", 60000), 0);
	for (uint8_t id = 1; id <= 3; id++)
		flow_hello(id, id);
	flow_settle(0);
	CU_ASSERT_EQUAL(set("takeover-ms", 12000), 0);
	flow_members(6, 6);
	CU_ASSERT_EQUAL(st.nodes[1].hold_until_ms - st.now_ms, 60000);
	flow_hello(2, 2);
	flow_members(4, 4);
	CU_ASSERT_EQUAL(st.nodes[2].hold_until_ms - st.now_ms, 12000);
}

static void model(void)
{
	static struct core_timing_model m;
	struct core_totem totem = { .known = true, .token_ms = 3000, .consensus_ms = 3600 };
	struct core_pace pace;

	flow_cluster();
	core_pace_read(&st, &pace);
	core_timing_model(&st.timing, &totem, &pace, &m);
	CU_ASSERT_EQUAL(m.detect_ms, 6600);
	CU_ASSERT_EQUAL(m.restart_ms, 6600 + CORE_TAKEOVER_MS + CORE_TICK_MS);
	CU_ASSERT_EQUAL(m.restart_worst_ms, 6600 + CORE_FENCE_TRY_MS + 3000);
	CU_ASSERT_EQUAL(m.rule_count, 3);
	for (unsigned i = 0; i < m.rule_count; i++)
		CU_ASSERT_TRUE(m.rules[i].holds);
	totem.token_ms = 8000;
	totem.consensus_ms = 9600;
	core_timing_model(&st.timing, &totem, &pace, &m);
	CU_ASSERT_FALSE(m.rules[2].holds);
	CU_ASSERT_FALSE(m.rules[2].safety);
	CU_ASSERT_EQUAL(m.rules[2].sum_ms, 19600);
	CU_ASSERT_EQUAL(CORE_TAKEOVER_FOR(17600u), 21600);
}

UNIT_MAIN("core cluster", { "shorter hold", shorter_hold_waits_for_the_node }, { "model", model }, { "settings", settings },
	  { "quarantine after three losses", quarantine_after_three_losses },
	  { "quarantine ends by itself", quarantine_ends_by_itself },
	  { "quarantine has limits", quarantine_has_limits },
	  { "disarmed: left alone", disarmed_leaves_everything_alone },
	  { "disarmed: nothing restarts", disarmed_restarts_nothing },
	  { "armed again: fenced", armed_again_fences },
	  { "functional level", level_is_raised_when_all_know_it },
	  { "slow time", slow_time_shortens_nothing })
