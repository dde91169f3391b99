/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SAN: nexuses of the nodes, their registrations, and what is under way in a target's queue.
 *
 * A node speaks to a LUN by one nexus; a new session may be another one, to the target a stranger,
 * while the key still stands at the old.  A write that the target has got lands when it lands, whatever becomes
 * of its sender: only an abort or a reset ends it.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

#define NEXUS_SECOND 16u

unsigned sim_nexus(uint8_t node, uint32_t volume)
{
	return node + (sim.nodes[node].nexus_new[volume] ? NEXUS_SECOND : 0);
}

bool sim_may_write(uint8_t node, uint32_t volume)
{
	return model_lun_may_write(&sim.luns[volume], sim_nexus(node, volume));
}

bool sim_registered(uint8_t node, uint32_t volume)
{
	return sim.luns[volume].registered[sim_nexus(node, volume)];
}

bool sim_mute(uint8_t node, uint32_t volume)
{
	return sim.nodes[node].mute_until[volume] > sim.now;
}

void sim_lun_check(void)
{
	uint8_t node;
	uint32_t vm;

	for (node = 1; node <= sim.count; node++)
		for (vm = 0; vm < SIM_VMS; vm++)
			if (sim.nodes[node].vms[vm].state == SIM_VM_RUNNING &&
			    !sim_mute(node, sim_volume_of(vm)) &&
			    !sim_may_write(node, sim_volume_of(vm)))
				sim_push(sim.now + 100 + sim_below(2000), SIM_EV_GUEST, node, vm,
					 CORE_EXIT_FENCED);
}

static void attentions_clear(struct model_lun *lun, unsigned nexus)
{
	while (model_lun_attention_take(lun, nexus))
		;
}

static void writes_abort(uint32_t volume, uint8_t node)
{
	uint32_t i;

	for (i = 0; i < SIM_WRITES; i++)
		if (sim.writes[i].used && sim.writes[i].node == node &&
		    sim_volume_of(sim.writes[i].vm) == volume)
			sim.writes[i].used = false;
}

uint16_t sim_lun_register(uint8_t node, uint32_t volume, uint64_t key, uint64_t key_old)
{
	struct model_lun *lun = &sim.luns[volume];
	unsigned nexus = sim_nexus(node, volume);

	if (sim_mute(node, volume))
		return EIO;
	/* A new session of this initiator: the target ends what the one before had under way. */
	writes_abort(volume, node);
	attentions_clear(lun, nexus);
	if (model_lun_register(lun, nexus, 0, key, true, true) != MODEL_LUN_GOOD)
		return EIO;
	if (!lun->held && model_lun_reserve(lun, nexus, key, 8) != MODEL_LUN_GOOD)
		return EIO;
	if (key_old && key_old != key && model_lun_have_key(lun, key_old))
		model_lun_preempt(lun, nexus, key, key_old, 8, true, NULL);
	return 0;
}

/* PREEMPT AND ABORT, then a reset of the LUN: targets answer the first and abort nothing (LIO). */
uint16_t sim_lun_fence(uint8_t node, const struct core_effect *fx)
{
	struct model_lun *lun = &sim.luns[fx->volume];
	unsigned nexus = sim_nexus(node, fx->volume);
	uint32_t victims = 0;

	if (sim_mute(node, fx->volume))
		return ETIMEDOUT;
	attentions_clear(lun, nexus);
	if (!lun->registered[nexus])
		return EACCES;
	if (fx->pr_key_old && model_lun_have_key(lun, fx->pr_key_old))
		model_lun_preempt(lun, nexus, lun->key[nexus], fx->pr_key_old, 8, true, &victims);
	if (!model_lun_have_key(lun, fx->pr_key))
		return ENOKEY;
	if (model_lun_preempt(lun, nexus, lun->key[nexus], fx->pr_key, 8, true, &victims) !=
	    MODEL_LUN_GOOD)
		return EIO;
	writes_abort(fx->volume, fx->peer);
	sim.barred[fx->volume][fx->peer] = true;
	sim_lun_check();
	return 0;
}

/* ---- keys that vanish ----------------------------------------------------------------------- */

/* The node looks by itself each second (maintain.c), and sees it with the next write. */
void sim_lun_key_gone(uint8_t node, uint32_t volume)
{
	sim.luns[volume].registered[sim_nexus(node, volume)] = false;
	sim_lun_check();
	sim_oracle_blame(node);
}

void sim_lun_forget(uint32_t volume)
{
	struct model_lun *lun = &sim.luns[volume];
	uint8_t node;

	lun->aptpl = false;
	model_lun_power_cycle(lun);
	for (node = 1; node <= sim.count; node++) {
		writes_abort(volume, node);
		sim_oracle_blame(node);
		sim.let_in[volume][node] |= sim.barred[volume][node];
	}
}

/* ---- writes --------------------------------------------------------------------------------- */

/* A running guest writes now and then; b is its generation. */
void sim_write(uint8_t node, uint32_t vm, uint32_t generation)
{
	const struct sim_vm *p = &sim.nodes[node].vms[vm];
	uint32_t volume = sim_volume_of(vm), i, delay = 1 + sim_below(60);

	if ((uint32_t)p->generation != generation ||
	    (p->state != SIM_VM_RUNNING && p->state != SIM_VM_SENDING))
		return;
	sim_push(sim.now + 500 + sim_below(3000), SIM_EV_WRITE, node, vm, generation);
	if (!sim_executes(node, vm) || !sim_may_write(node, volume))
		return;
	for (i = 0; i < SIM_WRITES && sim.writes[i].used; i++)
		;
	if (i == SIM_WRITES)
		return;
	if (sim.writes_late_until[volume] > sim.now)
		delay += sim_below((uint32_t)(sim.writes_late_until[volume] - sim.now) + 1);
	sim.writes[i] = (struct sim_write){ true, node, (uint8_t)vm, p->generation };
	sim_push(sim.now + delay, SIM_EV_LAND, 0, i, 0);
}

static void land(struct sim_write *w)
{
	w->used = false;
	if (w->generation < sim.landed_generation[w->vm])
		sim_fail("I1: a write of v%u of generation %llu (node %u) lands after one of generation %llu",
			 w->vm, (unsigned long long)w->generation, w->node,
			 (unsigned long long)sim.landed_generation[w->vm]);
	sim.landed_generation[w->vm] = w->generation;
}

void sim_land(uint32_t index)
{
	if (sim.writes[index].used)
		land(&sim.writes[index]);
}

/* The process ends or is paused for good by its own node: what it wrote is waited for, or lost with the power. */
void sim_writes_end(uint8_t node, uint32_t vm, bool lost)
{
	uint32_t i;

	for (i = 0; i < SIM_WRITES && !lost; i++)
		if (sim.writes[i].used && sim.writes[i].node == node && sim.writes[i].vm == vm)
			land(&sim.writes[i]);
}
