/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lost storage: a node that a LUN does not answer any more, while it answers others.
 *
 *   second     that node                                 cluster
 *   0          the last answer of the LUN
 *   30         storage-ms: "it does not answer me"       STORAGE: mute; nothing new is put there
 *   30 - 41    others would say the same by now, if it were the array's fault
 *   45         CORE_STORAGE_SETTLE_MS: another node has the volume and has said nothing: the
 *              incarnation is given up, as if its key had been taken: fence, owner and VMs
 * elsewhere then       it is admitted anew without that volume, which is tried again until the LUN
 * answers
 *
 * Nothing softer first: a release needs the LUN, so does a migration's last step, and neither says
 * when it hangs. A node that neither owns the volume nor runs VMs from it is left alone.  When the
 * LUN answers nobody, nothing is given up: there is no better place.
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/mutant.h"

static bool uses(const struct core_state *st, uint16_t volume, uint8_t node)
{
	uint16_t i;
	uint8_t d;

	if (st->volumes[volume].owner == node)
		return true;
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state == CORE_VM_UNUSED || !(vm->copies & CORE_NODE_BIT(node)))
			continue;
		for (d = 0; d < vm->config.disk_count; d++)
			if (vm->config.disks[d].volume == volume)
				return true;
	}
	return false;
}

/* Another node has the volume, and has not said that its LUN is mute. */
static bool answers_others(const struct core_state *st, const struct core_volume *v)
{
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++)
		if (((v->attached & ~v->mute) & CORE_NODE_BIT(id)) && core_node_ok(st, id))
			return true;
	return false;
}

void core_storage_said(struct core_state *st, const struct core_command *cmd)
{
	const struct core_node *n = &st->nodes[cmd->node];
	core_nodes bit = CORE_NODE_BIT(cmd->node);
	struct core_volume *v;
	uint16_t index;

	if (!core_volume_find(st, cmd->name, &index))
		return;
	v = &st->volumes[index];
	if (n->incarnation != cmd->incarnation || n->doomed ||
	    !((v->attached | v->registered) & bit) || !!(v->mute & bit) == cmd->force)
		return;
	v->mute ^= bit;
	if (cmd->force)
		v->mute_ms = st->now_ms;
	core_trace_add(st, CORE_OBJECT_VOLUME, v->name, v->state, v->state,
		       cmd->force ? CORE_WHY_STORAGE_MUTE : CORE_WHY_STORAGE_BACK, cmd->node, 0, 0);
}

bool core_storage_waits(const struct core_state *st, const struct core_volume *v)
{
	return v->mute && st->now_ms < v->mute_ms + CORE_STORAGE_SETTLE_MS;
}

void core_storage_reconcile(struct core_state *st, uint16_t index)
{
	const struct core_volume *v = &st->volumes[index];
	uint8_t id;

	if (!v->mute || st->disarmed || core_storage_waits(st, v) || !answers_others(st, v))
		return;
	if (CORE_MUTANT(63))
		return; /* planted: it is known, and nothing is done */
	for (id = 1; id <= CL_NODES_MAX; id++)
		if ((v->mute & CORE_NODE_BIT(id)) && core_node_ok(st, id) &&
		    !st->nodes[id].doomed && uses(st, index, id))
			core_node_give_up(st, &st->nodes[id], CORE_WHY_STORAGE_LOST, index);
}
