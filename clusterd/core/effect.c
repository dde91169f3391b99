/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of effects that are out.  An effect stands here from the entry that
 * decided it to the entry that brings its result; then its object's file goes on.
 * A result for an effect that is not here any more is old news and changes nothing.
 */
#include "clusterd/core/internal.h"

#include <string.h>

struct core_effect *core_effect_new(struct core_state *st, enum core_effect_kind kind, uint8_t node,
				    uint16_t volume, uint16_t vm)
{
	uint16_t cap = vm == CORE_NONE ? CORE_EFFECTS_MAX : CORE_EFFECTS_MAX - CORE_EFFECTS_KEPT;
	struct core_effect *fx = NULL;
	uint16_t i;

	for (i = 0; i < st->effect_count && i < cap && !fx; i++)
		if (!st->effects[i].kind)
			fx = &st->effects[i];
	if (!fx) {
		if (st->effect_count >= cap)
			return NULL; /* full: reconciling tries again after the next entry */
		fx = &st->effects[st->effect_count++];
	}
	memset(fx, 0, sizeof(*fx));
	fx->id = st->next_effect++;
	fx->kind = (uint8_t)kind;
	fx->node = node;
	fx->volume = volume;
	fx->vm = vm;
	fx->incarnation = st->nodes[node].incarnation;
	fx->since_ms = st->now_ms;
	return fx;
}

struct core_effect *core_effect_find(struct core_state *st, uint8_t kind, uint8_t node,
				     uint16_t volume, uint16_t vm)
{
	uint16_t i;

	for (i = 0; i < st->effect_count; i++) {
		struct core_effect *fx = &st->effects[i];

		if (fx->kind && (!kind || fx->kind == kind) && (!node || fx->node == node) &&
		    (volume == CORE_NONE || fx->volume == volume) &&
		    (vm == CORE_NONE || fx->vm == vm))
			return fx;
	}
	return NULL;
}

void core_effect_drop(struct core_state *st, struct core_effect *fx)
{
	if (!fx)
		return;
	fx->kind = 0;
	fx->id = 0;
	while (st->effect_count && !st->effects[st->effect_count - 1].kind)
		st->effect_count--;
}

void core_effects_drop_vm(struct core_state *st, uint16_t vm)
{
	struct core_effect *fx;

	while ((fx = core_effect_find(st, 0, 0, CORE_NONE, vm)) != NULL)
		core_effect_drop(st, fx);
}

void core_effect_result(struct core_state *st, const struct core_result *result)
{
	struct core_effect fx;
	uint16_t i;

	for (i = 0; i < st->effect_count; i++)
		if (st->effects[i].kind && st->effects[i].id == result->id)
			break;
	if (i == st->effect_count)
		return;
	fx = st->effects[i];
	core_effect_drop(st, &st->effects[i]);
	st->told = result->outcome == CL_DONE ? NULL : result->text;
	switch (fx.kind) {
	case CORE_FX_NODE_RESET:
	case CORE_FX_FENCE:
		core_node_result(st, &fx, result);
		break;
	case CORE_FX_VOL_FORMAT:
	case CORE_FX_VOL_JOIN:
	case CORE_FX_VOL_OWN:
	case CORE_FX_VOL_RELEASE:
	case CORE_FX_VOL_GONE:
		core_volume_result(st, &fx, result);
		break;
	default:
		core_vm_result(st, &fx, result);
		break;
	}
	st->told = NULL;
}
