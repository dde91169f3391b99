/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/core/node.c: a takeover needs proof; what is proof and what is not. */
#include "tests/unit/clusterd/core_flow.h"

#include <errno.h>
#include <stdio.h>

#include "tests/unit/unit.h"

static uint8_t host;

/* What `status` and `why` say, also after the state went through a snapshot. */
static void why_is(const struct core_cause *cause, const char *text)
{
	static uint8_t bytes[1 << 20];
	static struct core_state copy;
	static char why[32768];
	char seen[512];
	long len = core_snapshot_encode(&st, bytes, sizeof(bytes));

	core_cause_render(&st, cause, seen, sizeof(seen));
	CU_ASSERT_STRING_EQUAL(seen, text);
	CU_ASSERT_EQUAL_FATAL(core_snapshot_decode(&copy, bytes, (size_t)len), 0);
	core_cause_render(&copy, &copy.nodes[host].cause, seen, sizeof(seen));
	CU_ASSERT_STRING_EQUAL(seen, text);
	CU_ASSERT_EQUAL(core_why(&st, CORE_OBJECT_NODE, st.nodes[host].name, why, sizeof(why)), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, text));
}

static void every_reason_is_rendered(void)
{
	flow_cluster();
	for (unsigned reason = 1; reason < CORE_WHY_COUNT; reason++) {
		struct core_cause cause = { .reason = (uint8_t)reason, .node = 2, .n1 = 7, .n2 = 8 };
		char text[512];

		core_cause_render(&st, &cause, text, sizeof(text));
		CU_ASSERT_TRUE(text[0] && text[0] != '?');
		CU_ASSERT_PTR_NULL(strchr(text, '%'));
	}
}

/* Whatever a record says of whatever object: a sentence, without holes. */
static void every_record_is_rendered(void)
{
	flow_cluster();
	for (uint8_t object = CORE_OBJECT_CLUSTER; object <= CORE_OBJECT_JOB; object++)
		for (unsigned reason = 1; reason < CORE_WHY_COUNT; reason++)
			for (uint8_t state = 0; state <= CORE_NODE_QUARANTINED; state++) {
				struct core_trace trace = { .object = object, .before = state,
							    .after = (uint8_t)(state + 1), .name = "x" };
				char text[512];

				trace.cause = (struct core_cause){ .reason = (uint8_t)reason, .node = 2,
								   .n1 = 1, .n2 = 8 };
				core_trace_render(&st, &trace, text, sizeof(text));
				CU_ASSERT_TRUE(strlen(text) > 10 && strlen(text) + 1 < sizeof(text));
				CU_ASSERT_PTR_NULL(strchr(text, '%'));
			}
	/* Every state has a name of its own. */
	for (uint8_t state = 1; state <= CORE_NODE_QUARANTINED; state++)
		for (uint8_t other = 1; other < state; other++)
			CU_ASSERT_STRING_NOT_EQUAL(core_node_state_name(state),
						   core_node_state_name(other));
	CU_ASSERT_STRING_EQUAL(core_node_state_name(CORE_NODE_QUARANTINED), "quarantined");
	CU_ASSERT_STRING_EQUAL(core_node_state_name(CORE_NODE_QUARANTINED + 1), "?");
}

static void lose_host(void)
{
	flow_cluster();
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	host = flow_web()->node;
	flow_members(7 & ~CORE_NODE_BIT(host), 7 & ~CORE_NODE_BIT(host));
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_FENCING);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_UNKNOWN);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_FENCE, 0));
}

static void proof_then_hold_then_start(void)
{
	uint64_t generation;
	char text[128];

	lose_host();
	generation = flow_web()->generation;
	flow_answer(CORE_FX_FENCE, 0, CL_DONE, 0);
	flow_settle(CORE_FX_VM_START);
	CU_ASSERT_EQUAL(st.nodes[host].proof, CORE_PROOF_PR);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_FENCED);
	snprintf(text, sizeof(text), "fenced: proof on 1 LUNs; its VMs may start elsewhere in %u ms",
		 st.timing.takeover_ms);
	why_is(&st.nodes[host].cause, text);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_WAITING);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_START, 0));
	flow_tick(st.timing.takeover_ms - 1);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_VM_START, 0));
	flow_tick(1);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
	CU_ASSERT_NOT_EQUAL(flow_web()->node, host);
	CU_ASSERT_TRUE(flow_web()->generation > generation);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_DOWN);
}

/* Neither an unknown outcome nor a missing key, however often; the operator's word is. */
static void no_proof(void)
{
	lose_host();
	for (unsigned i = 0; i < 6; i++) {
		flow_answer(CORE_FX_FENCE, 0, i % 2 ? CL_UNKNOWN : CL_FAILED, ENOKEY);
		flow_settle(CORE_FX_FENCE);
		flow_tick(60000);
		CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_FENCING);
		CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_UNKNOWN);
		CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_FENCE, 0));
	}
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_NODE_CONFIRM, "n9")), -ENOENT);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_NODE_CONFIRM, st.nodes[host].name)), 0);
	flow_tick(60000);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
}

static void own_reboot_is_proof(void)
{
	uint32_t incarnation;

	lose_host();
	incarnation = st.nodes[host].incarnation;
	flow_members(7, 7);
	flow_hello(host, 99);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[host].proof, CORE_PROOF_REBOOT);
	CU_ASSERT_TRUE(st.nodes[host].incarnation > incarnation);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(flow_web()->state, CORE_VM_RUNNING);
}

/* On the same boot it has to stop everything, and say so, before it is let in again. */
static void same_boot_must_reset(void)
{
	lose_host();
	flow_members(7, 7);
	flow_hello(host, host);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_NODE_RESET, host));
	flow_answer(CORE_FX_NODE_RESET, host, CL_FAILED, EBUSY);
	CU_ASSERT_FALSE(st.nodes[host].over);
	flow_tick(60000);
	flow_answer(CORE_FX_NODE_RESET, host, CL_DONE, 0);
	CU_ASSERT_EQUAL(st.nodes[host].proof, CORE_PROOF_SELF);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_UP);
}

static void silent_clusterd_disturbs_nothing(void)
{
	flow_cluster();
	host = flow_web()->node;
	flow_members(7 & ~CORE_NODE_BIT(host), 7);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_SILENT);
	CU_ASSERT_EQUAL(st.effect_count, 0);
	flow_members(7, 7);
	flow_hello(host, host); /* but its report does not have the VM */
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_UP);
	flow_members(7 & ~CORE_NODE_BIT(host), 7);
	flow_tick(st.timing.silent_ms);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_FENCING);
}

/* Its csvd dies while its clusterd is cut off from the others: told late, it counts all the same. */
static void csvd_dies_on_a_silent_node(void)
{
	struct core_command *cmd;
	uint64_t term;

	flow_cluster();
	host = st.volumes[0].owner;
	term = st.volumes[0].term;
	flow_members(7 & ~CORE_NODE_BIT(host), 7);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_SILENT);
	cmd = flow_cmd(CORE_CMD_CSVD_LOST, "");
	cmd->node = host;
	cmd->incarnation = st.nodes[host].incarnation;
	flow_apply(cmd);
	CU_ASSERT_EQUAL(st.volumes[0].attached & CORE_NODE_BIT(host), 0);
	flow_members(7, 7);
	flow_hello(host, host);
	flow_settle(0);
	flow_tick(st.timing.retry_ms);
	flow_settle(0);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_UP);
	CU_ASSERT_EQUAL(st.volumes[0].state, CORE_VOLUME_ACTIVE);
	CU_ASSERT_TRUE(st.volumes[0].term > term);
	CU_ASSERT_EQUAL(st.volumes[0].attached, 7);
}

/* Both died, and nobody told: the csvd that runs now is another than the one that attached the volumes. */
static void csvd_of_before_is_noticed(void)
{
	struct core_command *cmd;
	uint8_t node;

	flow_cluster();
	node = st.volumes[0].owner == 3 ? 2 : 3;
	CU_ASSERT_EQUAL(st.nodes[node].csvd, 7410);
	flow_members(7 & ~CORE_NODE_BIT(node), 7);
	flow_members(7, 7);
	cmd = flow_hello_cmd(node, node);
	cmd->csvd = 7410;
	flow_apply(cmd);
	CU_ASSERT_EQUAL(st.volumes[0].attached, 7);
	flow_members(7 & ~CORE_NODE_BIT(node), 7);
	flow_members(7, 7);
	cmd = flow_hello_cmd(node, node);
	cmd->csvd = 7411;
	flow_apply(cmd);
	CU_ASSERT_EQUAL(st.volumes[0].attached & CORE_NODE_BIT(node), 0);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_VOL_JOIN, node));
	flow_settle(0);
	CU_ASSERT_EQUAL(st.volumes[0].attached, 7);
	CU_ASSERT_EQUAL(st.nodes[node].state, CORE_NODE_UP);
}

/* It was told to reset, and lost its power first: its next boot has nothing to reset. */
static void reset_ends_with_the_boot(void)
{
	lose_host();
	flow_members(7, 7);
	flow_hello(host, host);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_NODE_RESET, host));
	flow_members(7 & ~CORE_NODE_BIT(host), 7 & ~CORE_NODE_BIT(host));
	flow_members(7, 7);
	flow_hello(host, 99);
	CU_ASSERT_EQUAL(st.nodes[host].state, CORE_NODE_JOINING);
	CU_ASSERT_PTR_NULL(flow_effect(CORE_FX_NODE_RESET, host));
}

/* n3 cannot attach the volume: it takes part, says what it does not have, and fills no log. */
static void without_a_volume(void)
{
	const struct core_cause *cause = &st.nodes[3].cause;
	uint64_t seq, asked = 0, begin_ms;

	host = 3;
	flow_cluster();
	flow_members(3, 3);
	flow_settle(0);
	flow_tick(st.timing.takeover_ms + 1000);
	flow_settle(0);
	flow_members(7, 7);
	flow_hello(3, 99);
	CU_ASSERT_TRUE(flow_answer(CORE_FX_VOL_JOIN, 3, CL_FAILED, EEXIST));
	CU_ASSERT_EQUAL(st.nodes[3].state, CORE_NODE_UP);
	why_is(cause, "it takes part without volume data (1 could not be attached): VMs on it are not placed"
		      " there; it is tried again");
	seq = st.applied_seq;
	begin_ms = st.now_ms;
	while (st.now_ms - begin_ms < 3600000) {
		CU_ASSERT_NOT_EQUAL_FATAL(st.tick_ms, 0);
		flow_tick(st.tick_ms);
		asked += flow_answer(CORE_FX_VOL_JOIN, 3, CL_FAILED, EEXIST);
	}
	/* Once a minute in the end, and fast ticks only in the beginning. */
	CU_ASSERT_TRUE(asked >= 55 && asked <= 70);
	CU_ASSERT_TRUE(st.applied_seq - seq <= 240);
	printf("core: %llu entries in an hour in which a volume cannot be attached\n",
	       (unsigned long long)(st.applied_seq - seq));
	/* It can be attached again: that is said, too, and no timer runs on. */
	while (!flow_effect(CORE_FX_VOL_JOIN, 3))
		flow_tick(st.tick_ms);
	flow_answer(CORE_FX_VOL_JOIN, 3, CL_DONE, 0);
	flow_settle(0);
	CU_ASSERT_EQUAL(cause->reason, CORE_WHY_JOINED);
	CU_ASSERT_EQUAL(st.volumes[0].attached, 7);
	CU_ASSERT_EQUAL(st.tick_ms, 0);
}

UNIT_MAIN("core node", { "without a volume", without_a_volume }, { "csvd of before", csvd_of_before_is_noticed }, { "reset ends with the boot", reset_ends_with_the_boot },
	  { "every record is rendered", every_record_is_rendered }, { "csvd dies on a silent node", csvd_dies_on_a_silent_node }, { "proof, hold, start", proof_then_hold_then_start },
	  { "no proof, no takeover", no_proof }, { "own reboot is proof", own_reboot_is_proof },
	  { "same boot must reset", same_boot_must_reset },
	  { "silent clusterd", silent_clusterd_disturbs_nothing },
	  { "every reason is rendered", every_reason_is_rendered })
