/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long things take; see pace.h.  Reads the trace, decides nothing. */
#include "clusterd/core/internal.h"
#include "clusterd/core/pace.h"

#include <string.h>

#define SAMPLE_MAX_MS 3600000u /* a pair of records further apart is not one of cause and end */
#define GIB_MIB	      1024u

struct span {
	uint8_t object, begin, end; /* reasons */
	uint8_t kind;
	bool per_gib;
};

static const struct span spans[] = {
	{ CORE_OBJECT_NODE, CORE_WHY_FENCE_STARTED, CORE_WHY_PROOF_PR, CORE_PACE_FENCE, false },
	{ CORE_OBJECT_VOLUME, CORE_WHY_OWNER_CHOSEN, CORE_WHY_OWNER_ACTIVE, CORE_PACE_OWN, false },
	{ CORE_OBJECT_VOLUME, CORE_WHY_MOVE_ASKED, CORE_WHY_OWNER_LEFT, CORE_PACE_RELEASE, false },
	{ CORE_OBJECT_VM, CORE_WHY_VM_PLACED, CORE_WHY_VM_STARTED, CORE_PACE_START, false },
	{ CORE_OBJECT_VM, CORE_WHY_MIG_ASKED, CORE_WHY_MIG_MOVED, CORE_PACE_LIVE, true },
	{ CORE_OBJECT_VM, CORE_WHY_MIG_QUICK_ASKED, CORE_WHY_SAVED, CORE_PACE_SAVE, true },
	{ CORE_OBJECT_VM, CORE_WHY_MIG_COMMITTED, CORE_WHY_RESTORED, CORE_PACE_RESTORE, true },
};

static uint32_t gib_part(const struct core_state *st, const char *name, uint64_t ms)
{
	const struct core_vm *vm = core_vm_find(st, name, NULL);

	return vm && vm->config.memory_mib ? (uint32_t)(ms * GIB_MIB / vm->config.memory_mib) : 0;
}

static const struct core_trace *trace_at(const struct core_state *st, uint32_t i, uint32_t used)
{
	return &st->trace[(st->trace_next + CORE_TRACE_MAX - used + i) % CORE_TRACE_MAX];
}

/* The record that began what `end` ended: the object's last one of that reason before it. */
static const struct core_trace *begun(const struct core_state *st, const struct core_trace *end,
				      uint32_t at, uint32_t used, uint8_t reason)
{
	while (at--) {
		const struct core_trace *t = trace_at(st, at, used);

		if (t->object != end->object || !core_str_equal(t->name, end->name))
			continue;
		if (t->cause.reason == reason)
			return t;
		if (t->cause.reason == end->cause.reason)
			return NULL;
	}
	return NULL;
}

void core_pace_read(const struct core_state *st, struct core_pace *ret_pace)
{
	uint32_t used = st->trace_total < CORE_TRACE_MAX ? (uint32_t)st->trace_total : CORE_TRACE_MAX;
	uint64_t sum[CORE_PACE_KINDS] = { 0 };
	static const uint32_t assumed[] = {
#define CORE_PACE(name, ms, text) ms,
		CORE_PACES
#undef CORE_PACE
	};
	unsigned k;

	memset(ret_pace, 0, sizeof(*ret_pace));
	for (uint32_t i = 0; i < used; i++) {
		const struct core_trace *end = trace_at(st, i, used), *begin;

		for (k = 0; k < CL_ARRAY_LEN(spans); k++) {
			uint64_t ms;

			if (spans[k].object != end->object || spans[k].end != end->cause.reason)
				continue;
			begin = begun(st, end, i, used, spans[k].begin);
			if (!begin || end->wall_ms < begin->wall_ms ||
			    end->wall_ms - begin->wall_ms > SAMPLE_MAX_MS)
				continue;
			ms = end->wall_ms - begin->wall_ms;
			if (spans[k].per_gib)
				ms = gib_part(st, end->name, ms);
			if (!ms)
				continue;
			sum[spans[k].kind] += ms;
			ret_pace->samples[spans[k].kind]++;
		}
	}
	for (k = 0; k < CORE_PACE_KINDS; k++)
		ret_pace->ms[k] = ret_pace->samples[k] ?
					  (uint32_t)(sum[k] / ret_pace->samples[k]) :
					  assumed[k];
}

const char *core_pace_text(unsigned kind)
{
	static const char *const texts[] = {
#define CORE_PACE(name, ms, text) text,
		CORE_PACES
#undef CORE_PACE
	};

	return kind < CL_ARRAY_LEN(texts) ? texts[kind] : "?";
}

/* What is not measured, because it is short or rare. */
static uint64_t plain_ms(uint8_t kind)
{
	switch (kind) {
	case CORE_FX_NODE_RESET:
		return 3000;
	case CORE_FX_VOL_FORMAT:
		return 10000;
	case CORE_FX_VOL_JOIN:
	case CORE_FX_VM_INCOMING:
		return 1000;
	case CORE_FX_VM_STOP:
		return 20000;
	case CORE_FX_DISK_CREATE:
	case CORE_FX_DISK_DELETE:
	case CORE_FX_VM_KILL:
		return 500;
	}
	return 200;
}

uint64_t core_pace_effect_ms(const struct core_state *st, const struct core_pace *pace,
			     const struct core_effect *fx, unsigned *ret_kind)
{
	const struct core_vm *vm = fx->vm < st->vm_count ? &st->vms[fx->vm] : NULL;
	uint64_t memory_mib = vm ? vm->config.memory_mib : GIB_MIB;
	unsigned kind = CORE_PACE_KINDS;
	uint64_t ms;

	switch (fx->kind) {
	case CORE_FX_FENCE:
		kind = CORE_PACE_FENCE;
		break;
	case CORE_FX_VOL_OWN:
		kind = CORE_PACE_OWN;
		break;
	case CORE_FX_VOL_RELEASE:
		kind = CORE_PACE_RELEASE;
		break;
	case CORE_FX_VM_START:
		kind = CORE_PACE_START;
		break;
	case CORE_FX_VM_MIGRATE:
	case CORE_FX_VM_AWAIT:
		kind = CORE_PACE_LIVE;
		break;
	case CORE_FX_VM_SAVE:
		kind = CORE_PACE_SAVE;
		break;
	case CORE_FX_VM_RESTORE:
		kind = CORE_PACE_RESTORE;
		break;
	}
	*ret_kind = kind;
	if (kind == CORE_PACE_KINDS)
		return plain_ms(fx->kind);
	ms = pace->ms[kind];
	if (kind == CORE_PACE_LIVE || kind == CORE_PACE_SAVE || kind == CORE_PACE_RESTORE)
		ms = ms * memory_mib / GIB_MIB;
	if (kind == CORE_PACE_LIVE) {
		/* What was measured holds the target's start and the switch. */
		uint64_t rest = plain_ms(CORE_FX_VM_INCOMING) + plain_ms(CORE_FX_VM_RESUME);

		ms = ms > rest ? ms - rest : 1;
	}
	return ms;
}
