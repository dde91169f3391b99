/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/drain.c: the ladder, the caps, and the way home. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>

#include "tests/unit/unit.h"

static uint8_t drain_start(void)
{
	uint8_t node = flow_web()->node;
	struct core_command *cmd = flow_cmd(CORE_CMD_NODE_PAUSE, st.nodes[node].name);

	cmd->drain = true;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	return node;
}

/* The copy of this try is refused; *ret_pause_ms and flags as they were asked. */
static bool copy_fails(uint32_t *ret_pause_ms)
{
	const struct core_effect *fx;
	bool throttle;

	flow_settle(CORE_FX_VM_MIGRATE);
	fx = flow_effect(CORE_FX_VM_MIGRATE, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(fx);
	throttle = fx->flags & CORE_FLAG_THROTTLE;
	*ret_pause_ms = fx->pause_ms;
	flow_answer(CORE_FX_VM_MIGRATE, 0, CL_FAILED, EIO);
	flow_answer(CORE_FX_VM_FINISH, 0, CL_DONE, 0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	flow_tick(3000);
	flow_answer(CORE_FX_VM_KILL, 0, CL_DONE, 0); /* the target's copy */
	return throttle;
}

static void three_live_rungs_fail(void)
{
	uint32_t pause_ms;

	CU_ASSERT_FALSE(copy_fails(&pause_ms));
	CU_ASSERT_EQUAL(pause_ms, 300);
	CU_ASSERT_TRUE(copy_fails(&pause_ms));
	CU_ASSERT_EQUAL(pause_ms, 300);
	CU_ASSERT_TRUE(copy_fails(&pause_ms));
	CU_ASSERT_EQUAL(pause_ms, 10000);
}

static void ladder_to_quick_and_home(void)
{
	struct core_command *cmd;
	uint8_t source;

	flow_cluster();
	source = drain_start();
	three_live_rungs_fail();
	flow_settle(CORE_FX_VM_SAVE);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_SAVE, source));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, source);
	CU_ASSERT_EQUAL(st.nodes[source].state, CORE_NODE_PAUSED);
	CU_ASSERT_EQUAL(flow_web()->home, source);
	cmd = flow_cmd(CORE_CMD_NODE_RESUME, st.nodes[source].name);
	cmd->failback = true;
	flow_apply(cmd);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node, source);
	CU_ASSERT_EQUAL(flow_web()->home, 0);
	CU_ASSERT_FALSE(st.nodes[source].failback);
}

static void ladder_to_shutdown(void)
{
	struct core_vm_policy p = { .drain = CORE_RUNG_SHUTDOWN, .max_pause_ms = 10000 };
	uint64_t generation;
	uint8_t source;

	flow_cluster();
	flow_vm_set("web", CORE_SET_DRAIN, &p);
	generation = flow_web()->generation;
	source = drain_start();
	three_live_rungs_fail();
	flow_answer(CORE_FX_VM_SAVE, source, CL_FAILED, ENOSPC);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node, source);
	flow_tick(3000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STOPPING);
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_DRAIN_SHUTDOWN);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, source);
	CU_ASSERT_TRUE(flow_web()->generation > generation);
	CU_ASSERT_EQUAL(flow_web()->failures, 0);
	CU_ASSERT_EQUAL(st.nodes[source].state, CORE_NODE_PAUSED);
}

/* Policy live: it stays, says so, and is tried again; then the policy is widened. */
static void stuck_and_freed(void)
{
	struct core_vm_policy p = { .drain = CORE_RUNG_LIVE };
	static char text[16384];
	uint32_t pause_ms;
	uint8_t source;

	flow_cluster();
	flow_vm_set("web", CORE_SET_DRAIN, &p);
	source = drain_start();
	three_live_rungs_fail();
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_DRAIN_STUCK);
	CU_ASSERT_EQUAL(st.effect_count, 0);
	core_why(&st, CORE_OBJECT_NODE, st.nodes[source].name, text, sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "still there: VM web, running: it stays on node"));
	flow_tick(60000);
	three_live_rungs_fail();
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_DRAIN_STUCK);
	p.max_pause_ms = 0; /* no longer pause: that rung is passed over; and it is tried at once */
	flow_vm_set("web", CORE_SET_MAX_PAUSE, &p);
	CU_ASSERT_FALSE(copy_fails(&pause_ms));
	CU_ASSERT_TRUE(copy_fails(&pause_ms));
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_DRAIN_STUCK);
	p.drain = CORE_RUNG_QUICK;
	flow_vm_set("web", CORE_SET_DRAIN, &p);
	flow_settle(0);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, source);
}

/* What a stuck drain waits for holds no restart up. */
static void stuck_and_lost(void)
{
	struct core_vm_policy p = { .drain = CORE_RUNG_LIVE };

	flow_cluster();
	flow_vm_set("web", CORE_SET_DRAIN, &p);
	drain_start();
	three_live_rungs_fail();
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_DRAIN_STUCK);
	flow_lose(flow_web()->node);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_STARTING);
}

/* A target that fails is not the rung's fault: it gets another chance. */
static void rung_is_kept(void)
{
	flow_cluster();
	drain_start();
	flow_answer(CORE_FX_VM_INCOMING, 0, CL_FAILED, EIO);
	flow_tick(3000);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_LIVE);
	CU_ASSERT_EQUAL(flow_web()->migration.rung, CORE_RUNG_LIVE);
	flow_answer(CORE_FX_VM_INCOMING, 0, CL_FAILED, EIO);
	flow_tick(3000);
	CU_ASSERT_EQUAL(flow_web()->migration.rung, CORE_RUNG_THROTTLED);
}

/* The state goes to disk and back; the node reboots in the middle: the drain goes on. */
static void goes_on_after_everything(void)
{
	static struct core_state other;
	static uint8_t bytes[1u << 20];
	uint64_t job;
	uint8_t source;
	long len;

	flow_cluster();
	source = drain_start();
	job = ans.job;
	flow_answer(CORE_FX_VM_INCOMING, 0, CL_DONE, 0);
	len = core_snapshot_encode(&st, bytes, sizeof(bytes));
	CU_ASSERT_EQUAL_FATAL(core_snapshot_decode(&other, bytes, (size_t)len), 0);
	memcpy(&st, &other, sizeof(st));
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VM_MIGRATE, source));
	flow_lose(source);
	CU_ASSERT_EQUAL(core_job_find(&st, job)->state, CORE_JOB_RUNNING);
	flow_settle(0);
	flow_return(source, 99);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[source].state, CORE_NODE_PAUSED);
	CU_ASSERT_EQUAL(core_job_find(&st, job)->state, CORE_JOB_DONE);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, source);
}

/* A drain that cannot end says node by node why, and ends when it can. */
static void no_target(void)
{
	struct core_vm_policy p = { 0 };
	static char text[16384];
	uint8_t source;

	flow_cluster();
	p.possible = flow_web()->copies;
	flow_vm_set("web", CORE_SET_POSSIBLE, &p);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_MIGRATE, "web")), -ENOMEM);
	CU_ASSERT_PTR_NOT_NULL(strstr(ans.text, "no other node can take it: n2: it is not one of the possible"
						" owners; n3: it is not"));
	source = drain_start();
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[source].state, CORE_NODE_DRAINING);
	core_why(&st, CORE_OBJECT_VM, "web", text, sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "node n2: it is not one of the possible owners"));
	flow_apply(flow_cmd(CORE_CMD_NODE_RESUME, st.nodes[source].name));
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_VM_STARTED);
	drain_start();
	p.possible = 0;
	flow_vm_set("web", CORE_SET_POSSIBLE, &p);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[source].state, CORE_NODE_PAUSED);
}

static void guest_off(void)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_VM_EXIT, "web");

	cmd->node = flow_web()->node;
	cmd->incarnation = st.nodes[cmd->node].incarnation;
	cmd->generation = flow_web()->generation;
	cmd->exit = CORE_EXIT_SHUTDOWN;
	flow_apply(cmd);
	flow_settle(0);
}

/* The guest listens late: while the drain goes on that is no wish to stay down, afterwards it is one. */
static void late_shutdown(bool resumed)
{
	struct core_vm_policy p = { .drain = CORE_RUNG_SHUTDOWN };
	uint8_t source;

	flow_cluster();
	flow_vm_set("web", CORE_SET_DRAIN, &p);
	source = drain_start();
	three_live_rungs_fail();
	flow_answer(CORE_FX_VM_SAVE, source, CL_FAILED, ENOSPC);
	flow_settle(0);
	flow_tick(3000);
	flow_answer(CORE_FX_VM_STOP, source, CL_FAILED, ETIMEDOUT);
	for (uint16_t i = 0; i < st.effect_count; i++)
		if (st.effects[i].kind == CORE_FX_VM_QUERY) {
			struct core_command *cmd = flow_cmd(CORE_CMD_RESULT, "");

			cmd->result.id = st.effects[i].id;
			cmd->result.outcome = CL_DONE;
			cmd->result.values[0] = CORE_SEEN_RUNNING;
			cmd->result.values[1] = flow_web()->generation;
			flow_apply(cmd);
			break;
		}
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(flow_web()->node, source);
	if (resumed)
		flow_apply(flow_cmd(CORE_CMD_NODE_RESUME, st.nodes[source].name));
	guest_off();
	CU_ASSERT_EQUAL(flow_web()->state, resumed ? CORE_VM_STOPPED : CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(flow_web()->node == source, resumed);
}

static void listens_late(void)
{
	late_shutdown(false);
}

static void listens_too_late(void)
{
	late_shutdown(true);
}

/* Drained away to its best node: it has no wish to go back. */
static void best_is_home(void)
{
	struct core_vm_policy p = { .failback = CORE_FAILBACK_IMMEDIATE };
	uint8_t source;

	flow_cluster();
	p.preferred[0] = 3;
	CU_ASSERT_NOT_EQUAL(flow_web()->node, 3);
	flow_vm_set("web", CORE_SET_FAILBACK | CORE_SET_PREFERRED, &p);
	source = drain_start();
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node, 3);
	flow_apply(flow_cmd(CORE_CMD_NODE_RESUME, st.nodes[source].name));
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node, 3);
	/* Lost, and started elsewhere: home is where it prefers to be. */
	flow_lose(3);
	flow_settle(0);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, 3);
	flow_return(3, 77);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node, 3);
}

static unsigned moving(void)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < st.vm_count; i++)
		n += st.vms[i].state == CORE_VM_LIVE;
	return n;
}

static void caps_and_order(void)
{
	static const char *const names[] = { "a", "b", "c" };
	struct core_command *cmd;
	uint8_t source;

	flow_cluster();
	for (unsigned i = 0; i < 3; i++) {
		cmd = flow_vm_cmd(names[i], 256);
		cmd->set = CORE_SET_PREFERRED | CORE_SET_PRIORITY;
		cmd->policy.preferred[0] = flow_web()->node;
		cmd->policy.priority = i == 2 ? CORE_PRIORITY_HIGH : CORE_PRIORITY_LOW;
		flow_create(cmd);
	}
	source = drain_start();
	CU_ASSERT_EQUAL(moving(), 1);
	CU_ASSERT_EQUAL(flow_vm("c")->state, CORE_VM_LIVE);
	CU_ASSERT_EQUAL(flow_web()->cause.reason, CORE_WHY_DRAIN_QUEUED);
	flow_setting("migrations-out", 4);
	/* Four may leave, but each of the two others takes only one. */
	CU_ASSERT_EQUAL(moving(), 2);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_LIVE);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[source].state, CORE_NODE_PAUSED);
}

static void hour(unsigned h)
{
	flow_wall_ms = h * 3600000ull;
	flow_tick(0);
}

static void goes_home(enum core_failback failback)
{
	struct core_vm_policy p = { .failback = (uint8_t)failback, .failback_from = 22, .failback_to = 5 };
	static char text[16384];
	uint8_t home;

	flow_cluster();
	home = flow_web()->node;
	flow_vm_set("web", CORE_SET_FAILBACK, &p);
	flow_lose(home);
	flow_settle(0);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, home);
	hour(12);
	flow_return(home, 77);
	st.nodes[home].losses = 0; /* they ask for slow TICKs, too */
	flow_tick(0);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node == home, failback == CORE_FAILBACK_IMMEDIATE);
	CU_ASSERT_EQUAL(core_timer_ms(&st), failback == CORE_FAILBACK_WINDOW ? 60000 : 0);
	hour(21);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node == home, failback == CORE_FAILBACK_IMMEDIATE);
	core_why(&st, CORE_OBJECT_VM, "web", text, sizeof(text));
	CU_ASSERT_EQUAL(strstr(text, "; it goes back between the hours 22 and 5 UTC") != NULL,
			failback == CORE_FAILBACK_WINDOW);
	hour(23);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->node == home, failback != CORE_FAILBACK_NEVER);
	CU_ASSERT_EQUAL(flow_web()->home, 0);
	CU_ASSERT_EQUAL(core_timer_ms(&st), 0);
}

static void home_never(void)
{
	goes_home(CORE_FAILBACK_NEVER);
}

static void home_at_once(void)
{
	goes_home(CORE_FAILBACK_IMMEDIATE);
}

static void home_at_night(void)
{
	goes_home(CORE_FAILBACK_WINDOW);
}

UNIT_MAIN("core drain", { "ladder to quick, and home", ladder_to_quick_and_home },
	  { "ladder to shutdown", ladder_to_shutdown }, { "stuck and freed", stuck_and_freed },
	  { "stuck and lost", stuck_and_lost },
	  { "a rung gets another chance", rung_is_kept }, { "caps and order", caps_and_order },
	  { "goes on after everything", goes_on_after_everything }, { "no target", no_target },
	  { "the guest listens late", listens_late }, { "the guest listens too late", listens_too_late },
	  { "the best node is home", best_is_home },
	  { "failback never", home_never }, { "failback at once", home_at_once },
	  { "failback at night", home_at_night })
