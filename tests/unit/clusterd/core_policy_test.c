/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/policy.c, restart.c: what may be set, who starts by itself, in which order, how often. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "tests/unit/unit.h"

static void refused_whole(void)
{
	struct core_vm_policy p = { .priority = CORE_PRIORITY_LOW };

	flow_cluster();
	p.possible = CORE_NODE_BIT(9);
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_PRIORITY | CORE_SET_POSSIBLE, &p), -EINVAL);
	CU_ASSERT_EQUAL(flow_web()->policy.priority, CORE_PRIORITY_MEDIUM);
	p.possible = CORE_NODE_BIT(1);
	p.preferred[0] = 2;
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_PREFERRED | CORE_SET_POSSIBLE, &p), -EINVAL);
	p.preferred[0] = p.preferred[1] = 1;
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_PREFERRED, &p), -EINVAL);
	strcpy(p.apart, "no good");
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_APART, &p), -EINVAL);
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_LIMIT, &p), -EINVAL); /* period 0 */
	p.failback = CORE_FAILBACK_WINDOW;
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_FAILBACK, &p), -EINVAL); /* 00-00 */
	CU_ASSERT_EQUAL(flow_vm_set("nope", CORE_SET_PRIORITY, &p), -ENOENT);
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_PRIORITY, &p), 0);
	CU_ASSERT_EQUAL(flow_web()->policy.priority, CORE_PRIORITY_LOW);
	p.priority = 9;
	CU_ASSERT_EQUAL(flow_vm_set("web", CORE_SET_PRIORITY, &p), -EBADMSG);
	CU_ASSERT_EQUAL(flow_setting("migrations-out", 0), -EINVAL);
	CU_ASSERT_EQUAL(flow_setting("migrations-out", 3), 0);
	CU_ASSERT_EQUAL(st.settings.migrations_out, 3);
	CU_ASSERT_EQUAL(st.settings.migrations_in, 1);
	CU_ASSERT_EQUAL(flow_setting("spare", 4), -EINVAL);
}

/* web (low) and db (high) on the same node, which is lost: db first. */
static void two_classes(void)
{
	struct core_command *cmd;

	flow_cluster();
	flow_vm_set("web", CORE_SET_PRIORITY, &(struct core_vm_policy){ .priority = CORE_PRIORITY_LOW });
	cmd = flow_vm_cmd("db", 1024);
	cmd->set = CORE_SET_PRIORITY | CORE_SET_PREFERRED | CORE_SET_RESTART_WAIT;
	cmd->policy.priority = CORE_PRIORITY_HIGH;
	cmd->policy.preferred[0] = flow_web()->node;
	cmd->policy.restart_wait_s = 20;
	flow_create(cmd);
	CU_ASSERT_EQUAL(flow_vm("db")->node, flow_web()->node);
	flow_lose(flow_web()->node);
	CU_ASSERT_EQUAL(flow_vm("db")->state, CORE_VM_STARTING);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_WAITING);
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_VM_WAIT_CLASS);
	CU_ASSERT_EQUAL(core_timer_ms(&st), 500);
}

static void high_first(void)
{
	two_classes();
	flow_answer(CORE_FX_VM_START, 0, CL_DONE, 0);
	CU_ASSERT_EQUAL(flow_vm("db")->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STARTING);
}

static void high_first_but_not_for_ever(void)
{
	two_classes();
	flow_tick(18000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_WAITING);
	flow_tick(2000);
	CU_ASSERT_EQUAL(flow_vm("db")->state, CORE_VM_STARTING);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STARTING);
}

static void operator_does_not_queue(void)
{
	struct core_command *cmd;

	two_classes();
	cmd = flow_vm_cmd("now", 256);
	cmd->set = CORE_SET_PRIORITY;
	cmd->policy.priority = CORE_PRIORITY_LOW;
	flow_apply(cmd);
	flow_settle(CORE_FX_VM_START);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "now"));
	CU_ASSERT_EQUAL(flow_vm("now")->state, CORE_VM_STARTING);
}

static void none_is_left_alone(void)
{
	flow_cluster();
	flow_vm_set("web", CORE_SET_PRIORITY, &(struct core_vm_policy){ .priority = CORE_PRIORITY_NONE });
	flow_lose(flow_web()->node);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STOPPED);
	CU_ASSERT_FALSE(flow_web()->run);
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_VM_NO_RESTART);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	/* What an operator asked for is tried more than once. */
	flow_answer(CORE_FX_VM_START, 0, CL_FAILED, EIO);
	flow_tick(3000);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
}

/* after_ms from now; the clock of the node that proposes it is a day off each second time */
static void die(uint32_t after_ms)
{
	struct core_command *cmd;

	flow_tick(after_ms);
	flow_wall_ms ^= (uint64_t)1 << 27;
	cmd = flow_cmd(CORE_CMD_VM_EXIT, "web");
	cmd->node = flow_web()->node;
	cmd->incarnation = st.nodes[cmd->node].incarnation;
	cmd->generation = flow_web()->generation;
	cmd->exit = CORE_EXIT_ERROR;
	flow_apply(cmd);
	flow_tick(3000);
	flow_settle(0);
}

static void failures_within_the_period(void)
{
	struct core_vm_policy p = { .failover_limit = 1, .failover_period_s = 100 };

	flow_cluster();
	flow_vm_set("web", CORE_SET_LIMIT, &p);
	CU_ASSERT_EQUAL(st.tick_ms, 0);
	die(1000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(st.tick_ms, 0); /* time goes on */
	die(100000); /* the period is over: it counts anew */
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	die(50000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_FAILED);
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_VM_GAVE_UP);
	CU_ASSERT_EQUAL(flow_web()->cause.n2, 100);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	/* The loss of a node is not its failure. */
	for (unsigned i = 0; i < 4; i++) {
		uint8_t node = flow_web()->node;

		flow_lose(node);
		flow_settle(0);
		CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
		flow_return(node, (uint8_t)(10 + i));
	}
	p.failover_limit = 0;
	flow_vm_set("web", CORE_SET_LIMIT, &p);
	die(1151000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_FAILED);
}

static void limit_by_nodes(void)
{
	flow_cluster(); /* three nodes: two failures are forgiven */
	die(1000);
	die(2000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	die(3000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_FAILED);
}

UNIT_MAIN("core policy", { "refused whole", refused_whole }, { "high first", high_first },
	  { "but not for ever", high_first_but_not_for_ever },
	  { "an operator does not queue", operator_does_not_queue },
	  { "priority none", none_is_left_alone }, { "failover limit", failures_within_the_period },
	  { "default limit", limit_by_nodes })
