/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/vm.c and migrate.c: starts, stops, moves, and what an unknown outcome leads to. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

static void unknown_start_is_asked(void)
{
	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STOPPED);
	CU_ASSERT_EQUAL(flow_web()->copies, 0);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	flow_answer(CORE_FX_VM_START, 0, CL_UNKNOWN, ETIMEDOUT);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_UNKNOWN);
	CU_ASSERT_NOT_EQUAL(flow_web()->copies, 0);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_START, 0));
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_QUERY, 0));
}

/* A stop that fails says nothing of whether the VM is there; a kill that was asked with it may end it. */
static void failed_stop_is_asked(void)
{
	struct core_command *cmd;

	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	flow_answer(CORE_FX_VM_STOP, 0, CL_FAILED, EIO);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_QUERY, flow_web()->node));
	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	cmd = flow_cmd(CORE_CMD_VM_STOP, "web");
	cmd->force = true;
	flow_apply(cmd);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_KILL, 0));
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	flow_answer(CORE_FX_VM_STOP, 0, CL_FAILED, EIO);
	flow_answer(CORE_FX_VM_KILL, 0, CL_DONE, 0);
	CU_ASSERT_NOT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(flow_web()->copies, 0);
}

/* An abort is over when the migration is: a VM that is still being copied would pause some day, for ever. */
static void abort_waits_for_the_copying(void)
{
	struct core_command *cmd;
	uint8_t source;

	flow_cluster();
	source = flow_web()->node;
	flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web"));
	flow_answer(CORE_FX_VM_INCOMING, 0, CL_DONE, 0);
	flow_answer(CORE_FX_VM_MIGRATE, source, CL_UNKNOWN, ETIMEDOUT);
	flow_answer(CORE_FX_VM_FINISH, source, CL_UNKNOWN, ETIMEDOUT);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow_effect(CORE_FX_VM_QUERY, source));
	cmd = flow_cmd(CORE_CMD_RESULT, "");
	cmd->result.id = flow_effect(CORE_FX_VM_QUERY, source)->id;
	cmd->result.outcome = CL_DONE;
	cmd->result.values[0] = CORE_SEEN_MIGRATING;
	cmd->result.values[1] = flow_web()->generation;
	flow_apply(cmd);
	CU_ASSERT_NOT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	flow_tick(60000);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_FINISH, source));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(flow_web()->node, source);
}

static void live(bool commit)
{
	uint8_t source;
	uint64_t generation;

	flow_cluster();
	source = flow_web()->node;
	generation = flow_web()->generation;
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web")), 0);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web")), -EBUSY);
	flow_answer(CORE_FX_VM_INCOMING, 0, CL_DONE, 0);
	flow_answer(CORE_FX_VM_MIGRATE, source, CL_DONE, 0);
	/* One side's word is not enough. */
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_RESUME, 0));
	CU_ASSERT_EQUAL(flow_web()->node, source);
	flow_answer(CORE_FX_VM_AWAIT, 0, commit ? CL_DONE : CL_UNKNOWN, 0);
	if (commit) {
		CU_ASSERT_TRUE(flow_web()->generation > generation);
		CU_ASSERT_NOT_EQUAL(flow_web()->node, source);
		CU_ASSERT_TRUE(flow_effect(CORE_FX_VM_FINISH, source)->flags & CORE_FLAG_COMMITTED);
		CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_RESUME, flow_web()->node));
	} else {
		CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_RESUME, 0));
		CU_ASSERT_FALSE(flow_effect(CORE_FX_VM_FINISH, source)->flags & CORE_FLAG_COMMITTED);
	}
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(flow_web()->node == source, !commit);
	CU_ASSERT_EQUAL(flow_web()->copies, CORE_NODE_BIT(flow_web()->node));
}

static void live_commit(void)
{
	live(true);
}

static void live_abort(void)
{
	live(false);
}

static void refusals(void)
{
	flow_cluster();
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_START, "web")), -EALREADY);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_START, "nope")), -ENOENT);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_DELETE, "web")), -EBUSY);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_CANCEL, "web")), -EINVAL);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VOLUME_MOVE, "data")), -ENOENT);
	CU_ASSERT_TRUE(strlen(ans.text) > 0);
}

/* The state as bytes, back, and cut at every place; why in words. */
static void snapshot(void)
{
	static uint8_t a[1u << 20], b[1u << 20];
	static struct core_state other;
	static char text[16384];
	long len, cut;

	flow_cluster();
	len = core_snapshot_encode(&st, a, sizeof(a));
	CU_ASSERT_TRUE(len > 0);
	CU_ASSERT_EQUAL(core_snapshot_decode(&other, a, (size_t)len), 0);
	CU_ASSERT_EQUAL(core_snapshot_encode(&other, b, sizeof(b)), len);
	CU_ASSERT_EQUAL(memcmp(a, b, (size_t)len), 0);
	for (cut = 0; cut < len; cut += 7)
		CU_ASSERT_EQUAL(core_snapshot_decode(&other, a, (size_t)cut), -EBADMSG);
	CU_ASSERT_EQUAL(core_why(&st, CORE_OBJECT_VM, "nope", text, sizeof(text)), -ENOENT);
	CU_ASSERT_EQUAL(core_why(&st, CORE_OBJECT_VM, "web", text, sizeof(text)), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "VM web is running on node "));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "it runs on node "));
	CU_ASSERT_PTR_NULL(strchr(text, '%'));
}

/* It started, and was ended before that was told: whether it runs is asked until somebody answers. */
static void late_start_is_doubted(void)
{
	uint8_t node;

	flow_cluster();
	flow_apply(flow_cmd(CORE_CMD_VM_STOP, "web"));
	flow_settle(0);
	flow_apply(flow_cmd(CORE_CMD_VM_START, "web"));
	node = flow_web()->node;
	flow_members(7 & ~CORE_NODE_BIT(node), 7);
	flow_members(7, 7);
	flow_hello(node, node);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STARTING);
	flow_settle(CORE_FX_VM_START);
	flow_answer(CORE_FX_VM_START, node, CL_DONE, 0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_QUERY, node));
	flow_answer(CORE_FX_VM_QUERY, node, CL_UNKNOWN, ETIMEDOUT);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_QUERY, node));
	flow_tick(st.timing.retry_ms);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_QUERY, node));
	flow_answer(CORE_FX_VM_QUERY, node, CL_DONE, 0);
	flow_tick(st.timing.retry_ms);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_QUERY, node));
}

/* The source of the first move is slow to say that it has ended; by then it is the target of the next. */
static void late_finish_hides_nothing(void)
{
	uint64_t finish;
	uint8_t first, second;
	struct core_command *cmd;

	flow_cluster();
	first = flow_web()->node;
	flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web"));
	flow_settle(CORE_FX_VM_FINISH);
	second = flow_web()->node;
	CU_ASSERT_NOT_EQUAL(first, second);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow_effect(CORE_FX_VM_FINISH, first));
	finish = flow_effect(CORE_FX_VM_FINISH, first)->id;
	cmd = flow_cmd(CORE_CMD_VM_MIGRATE, "web");
	strcpy(cmd->target, st.nodes[first].name);
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_FINISH, first));
	cmd = flow_cmd(CORE_CMD_RESULT, "");
	cmd->result.id = finish;
	cmd->result.outcome = CL_DONE;
	flow_apply(cmd);
	CU_ASSERT_TRUE(flow_web()->copies & CORE_NODE_BIT(first));
}

/* Its process ends while it moves.  The move is cancelled, the question is not answered: it is asked again. */
static void end_during_a_move_is_asked_until_answered(void)
{
	struct core_command *cmd;
	uint8_t source;

	flow_cluster();
	source = flow_web()->node;
	flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web"));
	cmd = flow_cmd(CORE_CMD_VM_EXIT, "web");
	cmd->node = source;
	cmd->incarnation = st.nodes[source].incarnation;
	cmd->generation = flow_web()->generation;
	cmd->exit = CORE_EXIT_ERROR;
	flow_apply(cmd);
	flow_apply(flow_cmd(CORE_CMD_VM_CANCEL, "web"));
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	flow_answer(CORE_FX_VM_QUERY, source, CL_UNKNOWN, ETIMEDOUT);
	flow_tick(st.timing.retry_ms);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow_effect(CORE_FX_VM_QUERY, source));
	cmd = flow_cmd(CORE_CMD_RESULT, "");
	cmd->result.id = flow_effect(CORE_FX_VM_QUERY, source)->id;
	cmd->result.outcome = CL_DONE;
	cmd->result.values[0] = CORE_SEEN_NONE;
	flow_apply(cmd);
	CU_ASSERT_NOT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
}

UNIT_MAIN("core vm", { "end during a move", end_during_a_move_is_asked_until_answered },
	  { "late start", late_start_is_doubted }, { "late finish", late_finish_hides_nothing },
	  { "unknown start", unknown_start_is_asked },
	  { "failed stop", failed_stop_is_asked },
	  { "abort while copying", abort_waits_for_the_copying }, { "live", live_commit },
	  { "live aborted", live_abort },
	  { "refusals", refusals }, { "snapshot and why", snapshot })
