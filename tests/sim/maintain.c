/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Maintenance of the cluster and plans: what operators do, and what must never be:
 *
 *   I12  while the cluster is disarmed no node is fenced
 *   I13  a node that was lost too often is not let in while others are up
 *   I14  what a plan says is what then happens, if nothing else does
 */
#include "tests/sim/sim.h"

#include <string.h>

#include "clusterd/core/plan.h"

static struct {
	uint64_t traces; /* records that were looked at */
	uint64_t disarm_key, disarm_effect;
	uint64_t watch_ms[SIM_NODES + 1];
	bool told[SIM_NODES + 1][SIM_VOLUMES];
	uint64_t answer_ms[SIM_NODES + 1][SIM_VOLUMES]; /* the LUN's last */

	enum { PLAN_NONE, PLAN_RUNS, PLAN_OVER } plan_state;
	uint8_t plan_fail;
	uint64_t plan_at, plan_calm;
	struct core_plan plan;
	struct core_state copy;
	struct core_command scratch[2], cmd;
} m;

void sim_maintain_reset(void)
{
	m.traces = m.disarm_key = m.disarm_effect = 0;
	memset(m.watch_ms, 0, sizeof(m.watch_ms));
	memset(m.told, 0, sizeof(m.told));
	memset(m.answer_ms, 0, sizeof(m.answer_ms));
	m.plan_state = PLAN_NONE;
}

/* ---- the watch on one's own registrations: a look a second ---------------------------------- */

void sim_keys_watch(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	const struct core_node *self = &n->r->st.nodes[node];

	if (sim.now - m.watch_ms[node] < 1000 && m.watch_ms[node] <= sim.now)
		return;
	m.watch_ms[node] = sim.now;
	for (uint16_t i = 0; i < n->r->st.volume_count; i++) {
		const struct core_volume *volume = &n->r->st.volumes[i];
		uint16_t v = sim_volume_named(volume->name);

		if (volume->state == CORE_VOLUME_UNUSED || !(volume->registered & CORE_NODE_BIT(node)))
			continue;
		if (sim_mute(node, v)) {
			replica_storage_mute(n->r, sim_now(node), volume->name,
					     sim.now - m.answer_ms[node][v]);
			sim_after(node);
			continue;
		}
		m.answer_ms[node][v] = sim.now;
		if (sim_registered(node, v) && sim.luns[v].key[sim_nexus(node, v)] == self->pr_key) {
			m.told[node][v] = false;
			replica_key_seen(n->r, sim_now(node), volume->name, sim_now(node));
			sim_after(node);
		} else if (!self->doomed) {
			/* Again each second: what was told may have been told in vain. */
			m.told[node][v] = true;
			SIM_SAY("node %u: its key is gone from volume %u", node, v);
			replica_key_lost(n->r, sim_now(node), volume->name);
			sim_after(node);
		}
	}
}

/* ---- operators ------------------------------------------------------------------------------ */

/* One of the commands on the cluster as a whole. */
void sim_maintain_command(struct core_command *cmd)
{
	static const char *const names[] = { "takeover-ms", "silent-ms", "quarantine-losses" };
	static const uint32_t values[][3] = { { 12000, 14000, 25000 }, { 20000, 60000, 60000 },
					      { 0, 2, 3 } };
	unsigned which = sim_below(6);

	if (which < 2) {
		cmd->kind = CORE_CMD_CLUSTER_DISARM;
	} else if (which < 4) {
		cmd->kind = CORE_CMD_CLUSTER_ARM;
	} else {
		which = sim_below(3);
		cmd->kind = CORE_CMD_CLUSTER_SET;
		cmd->set_count = 1;
		cmd->sets[0].setting = (uint8_t)core_setting_find(names[which]);
		cmd->sets[0].value = values[which][sim_below(3)];
	}
}

/* ---- I12, I13 ------------------------------------------------------------------------------- */

void sim_maintain_commit(uint8_t node)
{
	const struct core_state *st = &sim.nodes[node].r->st;

	if (!st->disarmed || st->disarmed_wall_ms <= m.disarm_key)
		return;
	m.disarm_key = st->disarmed_wall_ms;
	m.disarm_effect = st->next_effect;
}

void sim_maintain_effect(uint8_t node, const struct core_effect *fx)
{
	const struct core_state *st = &sim.nodes[node].r->st;

	if (fx->kind == CORE_FX_FENCE && st->disarmed && st->disarmed_wall_ms == m.disarm_key &&
	    fx->id >= m.disarm_effect)
		sim_fail("I12: node %u fences node %u although the cluster is disarmed", node, fx->peer);
}

void sim_maintain_trace(uint8_t node, const struct core_trace *trace)
{
	const struct replica *r = sim.nodes[node].r;
	const struct core_state *st = &r->st;
	const struct core_node *n;
	unsigned losses = 0, out = 0;
	bool other = false;

	if (r->traced <= m.traces)
		return;
	m.traces = r->traced;
	if (trace->object != CORE_OBJECT_NODE || trace->after != CORE_NODE_JOINING ||
	    trace->cause.reason != CORE_WHY_HELLO_NEW_BOOT || !st->quarantine.losses)
		return;
	n = core_node_find(st, trace->name);
	for (uint8_t i = 0; i < n->losses; i++)
		losses += st->now_ms - n->lost_ms[i] < (uint64_t)st->quarantine.period_s * 1000;
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++) {
		out += st->nodes[id].state == CORE_NODE_QUARANTINED;
		other |= id != n->id && core_node_up(st, id) &&
			 st->nodes[id].since_ms + 10000 < st->now_ms;
	}
	if (losses >= st->quarantine.losses && other && !out && n->state == CORE_NODE_JOINING)
		sim_fail("I13: node %u is let in after %u losses", n->id, losses);
}

/* ---- I14 ------------------------------------------------------------------------------------ */

static bool vms_calm(const struct core_state *st)
{
	if (st->effect_count)
		return false;
	for (uint16_t i = 0; i < st->vm_count; i++)
		if (st->vms[i].state != CORE_VM_UNUSED && st->vms[i].state != CORE_VM_RUNNING &&
		    st->vms[i].state != CORE_VM_STOPPED)
			return false;
	return true;
}

/* All of a node's VMs can leave at once: the order in which migrations end, which nobody can foresee, decides nothing. */
static bool leaves_at_once(const struct core_state *st, uint8_t node)
{
	unsigned count = 0;

	for (uint16_t i = 0; i < st->vm_count; i++)
		count += st->vms[i].state == CORE_VM_RUNNING && st->vms[i].node == node;
	return count <= st->settings.migrations_out && count <= st->settings.migrations_in;
}

/*
 * All is well and still: an operator looks at a plan and then does it.  False: not in this seed.  With two volumes the
 * order in which they come back, which nobody can foresee, may decide where VMs start.
 */
static bool plan_begin(void)
{
	const struct core_state *st = &sim.nodes[1].r->st;
	struct core_plan_ask ask = { .cmd = &m.cmd, .detect_ms = 1500 };
	uint8_t node = (uint8_t)(1 + sim_below(sim.count));

	if (!sim_chance(25) || sim.volume_count > 1 || sim.count < 3 || !vms_calm(st) || st->tick_ms == CORE_TICK_MS)
		return false;
	memset(&m.cmd, 0, sizeof(m.cmd));
	switch (sim_below(3)) {
	case 0:
		if (!leaves_at_once(st, node))
			return false;
		m.cmd.kind = CORE_CMD_NODE_PAUSE;
		m.cmd.drain = true;
		core_str_copy(m.cmd.name, sizeof(m.cmd.name), st->nodes[node].name);
		break;
	case 1:
		m.cmd.kind = CORE_CMD_VM_MIGRATE;
		m.cmd.method = (uint8_t)(1 + sim_chance(50));
		m.cmd.name[0] = 'v';
		m.cmd.name[1] = (char)('0' + sim_below(sim.vm_count));
		break;
	case 2:
		ask.cmd = NULL;
		ask.fail = node;
		break;
	}
	m.copy = *st;
	core_plan_run(&m.copy, m.scratch, &ask, &m.plan);
	if (m.plan.err)
		return false;
	m.plan_fail = ask.fail;
	m.plan_state = PLAN_RUNS;
	m.plan_at = m.plan_calm = sim.now;
	SIM_SAY("plan: %s %s%.0u", ask.fail ? "power failure of node" : core_command_name(m.cmd.kind),
		m.cmd.name, ask.fail);
	if (ask.fail) {
		sim_power_off(ask.fail);
		return true;
	}
	replica_command(sim.nodes[1].r, sim_now(1), 0, &m.cmd);
	sim_after(1);
	return true;
}

/* The lowest node that runs. */
static const struct core_state *state_now(void)
{
	for (uint8_t id = 1; id <= sim.count; id++)
		if (sim.nodes[id].daemon && sim_node_runs(id))
			return &sim.nodes[id].r->st;
	return &sim.nodes[1].r->st;
}

/* A way home that waits for its time is in the plan, too. */
static bool plan_met(const struct core_state *st)
{
	for (uint16_t i = 0; i < st->vm_count; i++)
		if (st->vms[i].state != CORE_VM_UNUSED &&
		    (st->vms[i].state != m.copy.vms[i].state || st->vms[i].node != m.copy.vms[i].node))
			return false;
	return true;
}

static void plan_compare(const struct core_state *st)
{
	for (uint16_t i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i], *planned = &m.copy.vms[i];

		if (vm->state == CORE_VM_UNUSED)
			continue;
		if (vm->state != planned->state || vm->node != planned->node)
			sim_fail("I14: %s: planned %s on node %u, came to be %s on node %u",
				 vm->config.name, core_vm_state_name(planned->state), planned->node,
				 core_vm_state_name(vm->state), vm->node);
	}
	for (uint16_t i = 0; i < st->volume_count; i++)
		if (st->volumes[i].owner != m.copy.volumes[i].owner)
			sim_fail("I14: volume %s: planned owner %u, came to be %u", st->volumes[i].name,
				 m.copy.volumes[i].owner, st->volumes[i].owner);
}

/* After healing, at each check.  True: the seed goes on with a plan. */
bool sim_maintain_plan(bool converged)
{
	const struct core_state *st = state_now();

	if (m.plan_state == PLAN_OVER)
		return false;
	if (m.plan_state == PLAN_NONE) {
		if (!converged)
			return false;
		/* A plan knows nothing of paths that stay away. */
		for (uint8_t id = 1; id <= sim.count; id++)
			if (sim_mute(id, 0) || sim_mute(id, 1)) {
				m.plan_state = PLAN_OVER;
				return false;
			}
		if (plan_begin())
			return true;
		m.plan_state = PLAN_OVER;
		return false;
	}
	/* Still going on, or still calm for less than a while. */
	if (sim.now < m.plan_at + 20000 || st->tick_ms == CORE_TICK_MS || st->effect_count)
		m.plan_calm = sim.now;
	if (sim.now < m.plan_calm + 4000 && sim.now < m.plan_at + 120000)
		return true;
	if (m.plan.finished && !plan_met(st) && sim.now < m.plan_at + 150000)
		return true;
	/* A node that comes back (an old fault's reboot) is something else that happens. */
	if (m.plan.finished && !(m.plan_fail && sim.nodes[m.plan_fail].power))
		plan_compare(st);
	m.plan_state = PLAN_OVER;
	if (m.plan_fail)
		sim_boot(m.plan_fail);
	sim.heal_at = sim.now; /* it all comes back once more */
	return true;
}
