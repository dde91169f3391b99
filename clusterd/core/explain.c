/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Details of `why`: node by node why a VM fits nowhere, and what a draining node still has.  Decides nothing. */
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

static void add_need(struct core_text *t, const char *before, uint32_t need, const char *between,
		     uint32_t have, const char *after)
{
	core_text_add(t, before);
	core_text_u64(t, need);
	core_text_add(t, between);
	core_text_u64(t, have);
	core_text_add(t, after);
}

static void add_verdict(struct core_text *t, const struct core_state *st, uint8_t node,
			const struct core_verdict *v)
{
	switch (v->fit) {
	case CORE_FIT_OK:
		break;
	case CORE_FIT_STATE:
		core_text_add(t, "it is ");
		core_text_add(t, core_node_state_name(st->nodes[node].state));
		core_text_add(t, ", so it takes no VMs");
		break;
	case CORE_FIT_POSSIBLE:
		core_text_add(t, "it is not one of the possible owners");
		break;
	case CORE_FIT_VOLUME:
		core_text_add(t, "volume ");
		core_text_add(t, st->volumes[v->index].name);
		core_text_add(t, " is not attached there");
		break;
	case CORE_FIT_MEMORY:
		add_need(t, "", v->need, " MiB are needed, ", v->have, " MiB are free");
		break;
	case CORE_FIT_CPUS:
		add_need(t, "", v->need, " vCPUs are needed, ", v->have, " are free, by ");
		core_text_u64(t, st->settings.overcommit);
		core_text_add(t, " for each CPU");
		break;
	case CORE_FIT_COUNT:
		add_need(t, "it has ", v->have, " VMs, the most for one node is ", v->have, "");
		break;
	case CORE_FIT_APART:
		core_text_add(t, "VM ");
		core_text_add(t, st->vms[v->index].config.name);
		core_text_add(t, " of the same anti-affinity group is there");
		break;
	}
}

void core_explain_fit(const struct core_state *st, const struct core_vm *vm, uint8_t node, char *text,
		      size_t cap_bytes)
{
	struct core_verdict verdict;
	struct core_room room;
	struct core_text t;

	core_text_init(&t, text, cap_bytes);
	core_room_fill(st, &room);
	core_room_judge(st, &room, core_vm_index(st, vm), node, &verdict);
	add_verdict(&t, st, node, &verdict);
}

void core_explain_nowhere(const struct core_state *st, const struct core_vm *vm, core_nodes except,
			  char *text, size_t cap_bytes)
{
	struct core_verdict verdict;
	struct core_room room;
	struct core_text t;
	uint8_t id;

	core_text_init(&t, text, cap_bytes);
	core_room_fill(st, &room);
	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (st->nodes[id].state == CORE_NODE_UNUSED || (except & CORE_NODE_BIT(id)) ||
		    core_room_judge(st, &room, core_vm_index(st, vm), id, &verdict))
			continue;
		core_text_add(&t, t.len ? "; " : "");
		core_text_add(&t, st->nodes[id].name);
		core_text_add(&t, ": ");
		add_verdict(&t, st, id, &verdict);
	}
}

/* It is not where it belongs. */
static void add_home(struct core_text *t, const struct core_state *st, const struct core_vm *vm)
{
	const struct core_node *n = &st->nodes[vm->home];

	if (!vm->home || vm->home == vm->node || vm->state == CORE_VM_STOPPED)
		return;
	core_text_add(t, "  its home is node ");
	core_text_add(t, n->name);
	if (n->state != CORE_NODE_UP) {
		core_text_add(t, ", which is ");
		core_text_add(t, core_node_state_name(n->state));
	}
	if (vm->policy.failback == CORE_FAILBACK_NEVER) {
		core_text_add(t, "; it goes back only by `node resume --failback`");
	} else if (core_failback_waits(st, vm)) {
		core_text_add(t, "; it goes back between the hours ");
		core_text_u64(t, vm->policy.failback_from);
		core_text_add(t, " and ");
		core_text_u64(t, vm->policy.failback_to);
		core_text_add(t, " UTC");
	}
	core_text_add(t, "\n");
}

void core_explain_vm(struct core_text *t, const struct core_state *st, const struct core_vm *vm)
{
	struct core_verdict verdict;
	struct core_room room;
	uint8_t id;

	add_home(t, st, vm);
	if (vm->cause.reason != CORE_WHY_VM_NO_ROOM && vm->cause.reason != CORE_WHY_DRAIN_NO_TARGET)
		return;
	core_room_fill(st, &room);
	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (st->nodes[id].state == CORE_NODE_UNUSED || id == vm->cause.node)
			continue;
		core_text_add(t, "  node ");
		core_text_add(t, st->nodes[id].name);
		core_text_add(t, ": ");
		if (core_room_judge(st, &room, core_vm_index(st, vm), id, &verdict))
			core_text_add(t, "it has room now");
		else
			add_verdict(t, st, id, &verdict);
		core_text_add(t, "\n");
	}
}

void core_explain_node(struct core_text *t, const struct core_state *st, const struct core_node *n)
{
	char text[CORE_TEXT_MAX];
	uint16_t i;

	if (n->state != CORE_NODE_DRAINING)
		return;
	for (i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state == CORE_VM_UNUSED || !(vm->copies & CORE_NODE_BIT(n->id)))
			continue;
		core_cause_render(st, &vm->cause, text, sizeof(text));
		core_text_add(t, "  still there: VM ");
		core_text_add(t, vm->config.name);
		core_text_add(t, ", ");
		core_text_add(t, core_vm_state_name(vm->state));
		core_text_add(t, ": ");
		core_text_add(t, text);
		core_text_add(t, "\n");
	}
	for (i = 0; i < st->volume_count; i++) {
		if (st->volumes[i].state == CORE_VOLUME_UNUSED || st->volumes[i].owner != n->id)
			continue;
		core_text_add(t, "  still there: volume ");
		core_text_add(t, st->volumes[i].name);
		core_text_add(t, ", ");
		core_text_add(t, core_volume_state_name(st->volumes[i].state));
		core_text_add(t, "\n");
	}
}
