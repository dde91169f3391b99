/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long things take here: averages of what the trace tells (by the wall clock of those who proposed, so
 * good enough for people and for nothing else), or these assumptions.
 */
#ifndef CLUSTERD_CORE_PACE_H
#define CLUSTERD_CORE_PACE_H

#include "clusterd/core/core.h"

enum core_pace_kind {
#define CORE_PACE(name, ms, text) CORE_PACE_##name,
#define CORE_PACES                                                                                 \
	CORE_PACE(FENCE, 1000, "fencing a node")                                                   \
	CORE_PACE(OWN, 3000, "a node taking a volume over")                                        \
	CORE_PACE(RELEASE, 1000, "a node letting a volume go")                                     \
	CORE_PACE(START, 3000, "starting a VM")                                                    \
	CORE_PACE(LIVE, 10000, "live migration, each GiB of memory")                               \
	CORE_PACE(SAVE, 6000, "saving, each GiB of memory")                                        \
	CORE_PACE(RESTORE, 6000, "restoring, each GiB of memory")
	CORE_PACES
#undef CORE_PACE
	CORE_PACE_KINDS
};

struct core_pace {
	uint32_t ms[CORE_PACE_KINDS];
	uint16_t samples[CORE_PACE_KINDS]; /* 0: assumed */
};

void core_pace_read(const struct core_state *st, struct core_pace *ret_pace);
const char *core_pace_text(unsigned kind);
/* How long an executor needs for the effect; *ret_kind: the pace that was used, or CORE_PACE_KINDS. */
uint64_t core_pace_effect_ms(const struct core_state *st, const struct core_pace *pace,
			     const struct core_effect *fx, unsigned *ret_kind);

#endif
