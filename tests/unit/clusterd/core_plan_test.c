/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/plan.c: what is planned is what then happens, and what keeps it is told in words. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "clusterd/core/plan.h"
#include "tests/unit/unit.h"

static struct core_plan plan;
static struct core_state copy;
static struct core_command scratch[2], asked;
static uint8_t host;

static void plan_command(const struct core_command *cmd)
{
	struct core_plan_ask ask = { .cmd = cmd };

	copy = st;
	core_plan_run(&copy, scratch, &ask, &plan);
}

static void plan_failure(uint8_t node)
{
	struct core_plan_ask ask = { .fail = node, .detect_ms = 5000 };

	copy = st;
	core_plan_run(&copy, scratch, &ask, &plan);
}

static const struct core_plan_item *item(uint8_t object, uint16_t index)
{
	for (uint16_t i = 0; i < plan.count; i++)
		if (plan.items[i].object == object && plan.items[i].index == index)
			return &plan.items[i];
	return NULL;
}

static void vms_add(void)
{
	flow_cluster();
	flow_create(flow_vm_cmd("a", 512));
	flow_create(flow_vm_cmd("b", 1024));
	flow_create(flow_vm_cmd("c", 512));
	flow_create(flow_vm_cmd("d", 2048));
	flow_create(flow_vm_cmd("e", 256));
}

/* Everything succeeds; time passes while it is waited for. */
static void settle(void)
{
	for (unsigned i = 0; i < 100; i++) {
		flow_settle(0);
		if (st.tick_ms == CORE_TICK_MS)
			flow_tick(500);
	}
}

static void plan_is_what_happens(void)
{
	CU_ASSERT_TRUE(plan.finished);
	for (uint16_t i = 0; i < st.vm_count; i++) {
		const struct core_plan_item *it = item(CORE_OBJECT_VM, i);

		CU_ASSERT_EQUAL(st.vms[i].node, copy.vms[i].node);
		CU_ASSERT_EQUAL(st.vms[i].state, copy.vms[i].state);
		if (it) {
			CU_ASSERT_EQUAL(it->to, st.vms[i].node);
			CU_ASSERT_TRUE(it->end_ms >= it->begin_ms);
		}
	}
	for (uint16_t i = 0; i < st.volume_count; i++)
		CU_ASSERT_EQUAL(st.volumes[i].owner, copy.volumes[i].owner);
}

static void drain(void)
{
	const struct core_plan_item *it;
	uint64_t seq;

	vms_add();
	host = flow_web()->node;
	asked = *flow_cmd(CORE_CMD_NODE_PAUSE, st.nodes[host].name);
	asked.drain = true;
	seq = st.applied_seq;
	plan_command(&asked);
	CU_ASSERT_EQUAL(plan.err, 0);
	CU_ASSERT_EQUAL(st.applied_seq, seq);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_UP);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->from, host);
	CU_ASSERT_NOT_EQUAL(it->to, host);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_LIVE);
	CU_ASSERT_EQUAL(it->end_ms, 10000); /* 1 GiB, assumed */
	CU_ASSERT_FALSE(it->measured);
	flow_apply(&asked);
	settle();
	plan_is_what_happens();
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_PAUSED);
}

static void drain_blocked(void)
{
	const struct core_plan_item *it;

	flow_cluster();
	for (uint8_t id = 1; id <= 3; id++)
		if (id != flow_web()->node)
			st.nodes[id].memory_mib = 512;
	host = flow_web()->node;
	asked = *flow_cmd(CORE_CMD_NODE_PAUSE, st.nodes[host].name);
	asked.drain = true;
	plan_command(&asked);
	CU_ASSERT_FALSE(plan.finished);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_STAYS);
	CU_ASSERT_TRUE(it->text[0]);
}

static void failure(void)
{
	const struct core_plan_item *it;

	vms_add();
	host = flow_web()->node;
	plan_failure(host);
	CU_ASSERT_EQUAL(plan.err, 0);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_RESTART);
	CU_ASSERT_TRUE(it->end_ms >= 5000 + st.timing.takeover_ms);
	CU_ASSERT_TRUE(it->end_ms < 30000);
	flow_members(7 & ~CORE_NODE_BIT(host), 7 & ~CORE_NODE_BIT(host));
	settle();
	plan_is_what_happens();
}

static void failure_without_room(void)
{
	const struct core_plan_item *it;

	flow_cluster();
	host = flow_web()->node;
	for (uint8_t id = 1; id <= 3; id++)
		if (id != host)
			st.nodes[id].memory_mib = 512;
	plan_failure(host);
	CU_ASSERT_FALSE(plan.finished);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_WAITS);
	CU_ASSERT_PTR_NOT_NULL(strstr(it->text, "1024 MiB"));
	/* The last but one of three: no majority is left. */
	flow_cluster();
	flow_members(3, 3);
	settle();
	plan_failure(1);
	CU_ASSERT_EQUAL(plan.err, -ENOLINK);
	plan_failure(3);
	CU_ASSERT_EQUAL(plan.err, -EALREADY);
}

static void others(void)
{
	const struct core_plan_item *it;

	vms_add();
	asked = *flow_cmd(CORE_CMD_VM_MIGRATE, "web");
	asked.method = CORE_METHOD_QUICK;
	plan_command(&asked);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_QUICK);
	CU_ASSERT_EQUAL(plan.count, 1);
	flow_apply(&asked);
	settle();
	plan_is_what_happens();

	asked = *flow_cmd(CORE_CMD_VM_DELETE, "web");
	plan_command(&asked);
	CU_ASSERT_EQUAL(plan.err, -EBUSY);
	CU_ASSERT_STRING_EQUAL(plan.text, "vm web is running: stop it first");
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	settle();
	plan_command(&asked);
	CU_ASSERT_EQUAL(plan.err, 0);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_DELETE);
	CU_ASSERT_PTR_NOT_NULL(flow_web());

	asked = *flow_cmd(CORE_CMD_VOLUME_MOVE, "data");
	strcpy(asked.target, st.volumes[0].owner == 3 ? "n2" : "n3");
	plan_command(&asked);
	it = item(CORE_OBJECT_VOLUME, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_EQUAL(it->method, CORE_PLAN_OWNER);
	CU_ASSERT_EQUAL(it->end_ms, 4000);
	flow_apply(&asked);
	settle();
	CU_ASSERT_EQUAL(st.volumes[0].owner, it->to);
}

static void clock_to(uint64_t wall_ms)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_TICK, "");

	cmd->wall_ms = wall_ms;
	cmd->seen_seq = st.applied_seq;
	flow_apply(cmd);
}

/* What a move took before is what it is expected to take. */
static void measured(void)
{
	const struct core_plan_item *it;

	flow_cluster();
	clock_to(1000000);
	flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web"));
	clock_to(1004000);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	asked = *flow_cmd(CORE_CMD_VM_MIGRATE, "web");
	plan_command(&asked);
	it = item(CORE_OBJECT_VM, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(it);
	CU_ASSERT_TRUE(it->measured);
	CU_ASSERT_EQUAL(it->end_ms, 4000);
	CU_ASSERT_EQUAL(plan.pace.samples[CORE_PACE_LIVE], 1);
	CU_ASSERT_EQUAL(plan.pace.samples[CORE_PACE_SAVE], 0);
}

/* What goes home at night is not on its way at noon. */
static void hour_of_the_day(void)
{
	struct core_vm_policy policy = { .failback = CORE_FAILBACK_WINDOW, .failback_from = 0, .failback_to = 2 };
	struct core_command *cmd;
	uint8_t home;

	flow_cluster();
	home = flow_web()->node;
	asked = *flow_cmd(CORE_CMD_NODE_PAUSE, st.nodes[home].name);
	asked.drain = true;
	flow_apply(&asked);
	settle();
	flow_vm_set("web", CORE_SET_FAILBACK, &policy);
	cmd = flow_cmd(CORE_CMD_NODE_RESUME, st.nodes[home].name);
	cmd->wall_ms = 12 * 3600000ull;
	flow_apply(cmd);
	CU_ASSERT_EQUAL(flow_web()->home, home);
	CU_ASSERT_NOT_EQUAL_FATAL(flow_web()->node, home);
	clock_to(12 * 3600000ull + 60000);
	asked = *flow_cmd(CORE_CMD_NODE_PAUSE, st.nodes[6 - home - flow_web()->node].name);
	plan_command(&asked);
	CU_ASSERT_PTR_NULL(item(CORE_OBJECT_VM, 0));
	clock_to(24 * 3600000ull + 60000);
	plan_command(&asked);
	CU_ASSERT_PTR_NOT_NULL(item(CORE_OBJECT_VM, 0));
}

UNIT_MAIN("core plan", { "hour of the day", hour_of_the_day },
	  { "drain", drain }, { "drain that is blocked", drain_blocked },
	  { "power failure", failure }, { "power failure without room", failure_without_room },
	  { "move, delete, owner", others }, { "measured", measured })
