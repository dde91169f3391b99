/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What operators asked, what they were told, what they then saw.  The configuration is linearizable if
 * there is one order of all acknowledged commands that respects real time and explains every answer and read.
 * The log offers that order; so it is checked that
 *
 *   - a command that was asked after another one had been answered comes after it in the log
 *   - no command is there twice, whatever was sent again
 *   - an answer says what the order says: of creations of one name one succeeds until it is deleted
 *   - a clusterd that shows itself open shows everything that was acknowledged by it, or in an epoch before
 *     its own (a member's copy may be some milliseconds behind another's within the epoch)
 *   - at the end every setting has the value of the last command that was acknowledged for it
 *
 * A command without an answer may have happened or not.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

void sim_command(uint8_t node, uint8_t act, uint8_t subject, bool flag, const struct core_command *cmd)
{
	struct sim_command *h;
	uint64_t cookie = 0;

	if (!node || !sim.nodes[node].daemon || !sim_node_runs(node) ||
	    sim.nodes[node].daemon_stalled > sim.now)
		return;
	if (sim.history_count < SIM_HISTORY) {
		cookie = ++sim.history_count; /* its place + 1 */
		h = &sim.history[cookie - 1];
		*h = (struct sim_command){ .invoked = sim.now, .node = node, .act = act,
					   .subject = subject, .flag = flag };
	}
	if (act == PLAN_VM_START)
		sim_policy_asked(cmd->name);
	SIM_SAY("node %u: operator %llu: %s %s %s", node, (unsigned long long)cookie,
		core_command_name(cmd->kind),
		cmd->kind == CORE_CMD_VM_CREATE ? cmd->vm.name : cmd->name, cmd->target);
	replica_command(sim.nodes[node].r, sim_now(node), cookie, cmd);
	sim_after(node);
}

void sim_answer(uint8_t node, uint64_t cookie, const struct core_answer *answer)
{
	const struct replica *r = sim.nodes[node].r;
	struct sim_command *h;

	SIM_SAY("node %u: answer to %llu: %d %s", node, (unsigned long long)cookie, answer->err,
		answer->text);
	sim.commands_acked += !answer->err;
	if (!cookie || cookie > sim.history_count || answer->err == -EINPROGRESS)
		return;
	h = &sim.history[cookie - 1];
	if (h->answered)
		sim_fail("I2: command %llu is answered twice", (unsigned long long)cookie);
	h->answered = sim.now;
	h->err = answer->err;
	h->seq = r->st.applied_seq;
	h->epoch = r->log.commit.epoch;
}

void sim_history_entry(const struct log_entry *entry)
{
	uint32_t i;

	if (entry->kind != LOG_ENTRY_DATA || !entry->cookie || sim.cookie_count == SIM_ENTRIES)
		return;
	/* Sent again: not long after. */
	for (i = sim.cookie_count > 512 ? sim.cookie_count - 512 : 0; i < sim.cookie_count; i++)
		if (sim.cookies[i] == (entry->cookie ^ (uint64_t)entry->origin << 56))
			sim_fail("I2: entry %llu is a command that was committed before",
				 (unsigned long long)entry->mark.seq);
	sim.cookies[sim.cookie_count++] = entry->cookie ^ (uint64_t)entry->origin << 56;
}

void sim_history_read(uint8_t node)
{
	const struct replica *r = sim.nodes[node].r;
	uint32_t i;

	if (!sim.nodes[node].daemon || !sim_node_runs(node) || !log_is_open(&r->log) || !r->safe)
		return;
	for (i = 0; i < sim.history_count; i++) {
		const struct sim_command *h = &sim.history[i];

		if (!h->answered || h->seq <= r->st.applied_seq)
			continue;
		if (h->node == node || h->epoch < r->log.epoch)
			sim_fail("I2: node %u shows entry %llu; command %u was acknowledged as entry %llu before",
				 node, (unsigned long long)r->st.applied_seq, i + 1,
				 (unsigned long long)h->seq);
	}
}

static void real_time(void)
{
	uint32_t a, b;

	for (a = 0; a < sim.history_count; a++) {
		const struct sim_command *first = &sim.history[a];

		for (b = a + 1; b < sim.history_count && first->answered; b++) {
			const struct sim_command *second = &sim.history[b];

			if (second->answered && first->answered < second->invoked &&
			    first->seq >= second->seq)
				sim_fail("I2: command %u was answered before command %u was asked, and comes after it (entries %llu, %llu)",
					 a + 1, b + 1, (unsigned long long)first->seq,
					 (unsigned long long)second->seq);
		}
	}
}

static bool freed_between(uint8_t vm, uint64_t after, uint64_t before)
{
	uint32_t i;

	for (i = 0; i < sim.freed_count; i++)
		if (sim.freed[i].vm == vm && sim.freed[i].seq > after && sim.freed[i].seq <= before)
			return true;
	return false;
}

/* Of one VM: a second creation succeeds only if the name was free again in between. */
static void creations(uint8_t vm)
{
	const struct sim_command *made = NULL;
	uint64_t seq = 0;

	for (;;) {
		const struct sim_command *next = NULL;
		uint32_t i;

		for (i = 0; i < sim.history_count; i++) {
			const struct sim_command *h = &sim.history[i];

			if (h->act == PLAN_VM_CREATE && h->subject == vm && h->answered && !h->err &&
			    h->seq > seq && (!next || h->seq < next->seq))
				next = h;
		}
		if (!next)
			return;
		if (made && !freed_between(vm, made->seq, next->seq))
			sim_fail("I2: v%u was created twice (entries %llu, %llu) and not deleted between",
				 vm, (unsigned long long)made->seq, (unsigned long long)next->seq);
		made = next;
		seq = next->seq;
	}
}

/* The last word on a node's pause, where all words were answered. */
static void pauses(uint8_t node)
{
	const struct sim_command *last = NULL;
	uint32_t i;

	for (i = 0; i < sim.history_count; i++) {
		const struct sim_command *h = &sim.history[i];

		if ((h->act != PLAN_NODE_PAUSE && h->act != PLAN_NODE_RESUME) || h->subject != node)
			continue;
		if (!h->answered)
			return;
		if (!h->err && (!last || h->seq > last->seq))
			last = h;
	}
	if (last && sim.nodes[1].r->st.nodes[node].pause != (last->act == PLAN_NODE_PAUSE))
		sim_fail("I3: node %u: the last acknowledged command (entry %llu) is not in force", node,
			 (unsigned long long)last->seq);
}

void sim_history_end(void)
{
	uint8_t i;

	real_time();
	for (i = 0; i < sim.vm_count; i++)
		creations(i);
	for (i = 1; i <= sim.count; i++)
		pauses(i);
}
