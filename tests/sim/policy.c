/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What operators wish for VMs, and the oracles for it.  Each seed's VMs get owners, groups and limits once, so that
 * a rule can be judged at any time without knowing in which order commands were committed;
 * priorities, failback and ladders change all the time.
 *
 *   P1  VMs of a hard anti-affinity group never execute on one node
 *   P2  a VM starts on possible owners only
 *   P3  a VM whose start fails again and again is given up at its limit
 */
#include "tests/sim/sim.h"

#include <string.h>

static struct {
	bool used;
	struct core_vm_policy vm[SIM_VMS];
	uint32_t set[SIM_VMS];
	int sick;	   /* VM whose starts fail until healing, or -1 */
	uint64_t sick_top; /* generation of its last start */
	unsigned tries;	   /* of the sick VM, since an operator asked for it last */
} policy;

#define SICK_LIMIT 2u
/* Starts that were under way when the operator's command was sent may come on top. */
#define SICK_SLACK 4u

static core_nodes some_nodes(unsigned least)
{
	core_nodes set = 0;

	while ((unsigned)__builtin_popcount(set) < least)
		set |= CORE_NODE_BIT(1 + sim_below(sim.count));
	return set;
}

void sim_policy_start(void)
{
	unsigned vm, kind, node;

	memset(&policy, 0, sizeof(policy));
	policy.sick = -1;
	policy.used = sim_chance(60);
	if (!policy.used)
		return;
	for (vm = 0; vm < SIM_VMS; vm++) {
		struct core_vm_policy *p = &policy.vm[vm];

		kind = sim_below(3);
		if (vm < 2 && kind) {
			/* Two of a group on at least two nodes: there is always a way. */
			policy.set[vm] |= CORE_SET_APART;
			strcpy(p->apart, "g");
			p->apart_hard = kind == 2;
		}
		if (sim_chance(40)) {
			policy.set[vm] |= CORE_SET_POSSIBLE;
			p->possible = some_nodes(2);
		}
		if (sim_chance(40)) {
			node = 1 + sim_below(sim.count);
			if (!p->possible || (p->possible & CORE_NODE_BIT(node))) {
				policy.set[vm] |= CORE_SET_PREFERRED;
				p->preferred[0] = (uint8_t)node;
			}
		}
	}
	if (sim_chance(15)) {
		policy.sick = (int)sim_below(sim.vm_count);
		policy.set[policy.sick] |= CORE_SET_LIMIT;
		policy.vm[policy.sick].failover_limit = SICK_LIMIT;
		policy.vm[policy.sick].failover_period_s = CORE_PERIOD_S;
	}
}

void sim_policy_create(struct core_command *cmd, unsigned vm)
{
	cmd->set = policy.set[vm];
	cmd->policy = policy.vm[vm];
}

/* What may change at any time. */
void sim_policy_change(struct core_command *cmd)
{
	static const uint8_t rungs[] = { CORE_RUNG_LIVE, CORE_RUNG_QUICK, CORE_RUNG_SHUTDOWN };

	if (cmd->kind == CORE_CMD_CLUSTER_SET) {
		cmd->set_count = 2;
		cmd->sets[0].setting = (uint8_t)core_setting_find("migrations-out");
		cmd->sets[0].value = 1 + sim_below(3);
		cmd->sets[1].setting = (uint8_t)core_setting_find("migrations-in");
		cmd->sets[1].value = 1 + sim_below(3);
		return;
	}
	cmd->set = sim_random() & (CORE_SET_PRIORITY | CORE_SET_FAILBACK | CORE_SET_DRAIN |
				   CORE_SET_RESTART_WAIT | CORE_SET_MAX_PAUSE);
	cmd->policy.priority = (uint8_t)sim_below(4);
	cmd->policy.failback = (uint8_t)sim_below(3);
	/* Open, or never: it is a quarter past 22 in all nodes, whatever day each takes it for. */
	cmd->policy.failback_from = (uint8_t)(sim_chance(50) ? 20 : 5);
	cmd->policy.failback_to = (uint8_t)(cmd->policy.failback_from == 20 ? 3 : 12);
	cmd->policy.drain = rungs[sim_below(3)];
	cmd->policy.restart_wait_s = (uint16_t)sim_below(40);
	cmd->policy.max_pause_ms = sim_chance(50) ? 0 : 5000;
}

void sim_policy_asked(const char *name)
{
	if (policy.sick >= 0 && sim_vm_of(name) == policy.sick)
		policy.tries = 0;
}

bool sim_policy_sick(unsigned vm, uint64_t generation)
{
	if ((int)vm != policy.sick || sim.healed)
		return false;
	if (generation > policy.sick_top) {
		policy.sick_top = generation;
		if (++policy.tries > SICK_LIMIT + 1 + SICK_SLACK)
			sim_fail("P3: v%u was started %u times in a row and failed, its limit is %u", vm,
				 policy.tries, SICK_LIMIT);
	}
	return true;
}

void sim_policy_began(uint8_t node, unsigned vm)
{
	const struct core_vm_policy *p = &policy.vm[vm];
	unsigned other;

	if (p->possible && !(p->possible & CORE_NODE_BIT(node)))
		sim_fail("P2: v%u starts on node %u, which is none of its possible owners", vm, node);
	for (other = 0; p->apart[0] && other < SIM_VMS; other++)
		if (other != vm && policy.vm[other].apart[0] &&
		    (p->apart_hard || policy.vm[other].apart_hard) && sim_executes(node, other))
			sim_fail("P1: v%u starts on node %u, where v%u of its group is", vm, node, other);
}
