/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The timing model: what a node's loss takes at worst, made from corosync's times, the cluster's
 * settings and what was measured; and the inequalities that must hold.  Times in ms.
 */
#ifndef CLUSTERD_CORE_MODEL_H
#define CLUSTERD_CORE_MODEL_H

#include "clusterd/core/pace.h"

#define CORE_TIMING_ROWS_MAX  24u
#define CORE_TIMING_RULES_MAX 4u

/* corosync's, as it runs here. */
struct core_totem {
	bool known;
	uint32_t token_ms, consensus_ms;
};

struct core_timing_row {
	const char *phase, *what, *text;
	uint64_t ms;
	bool used;
};

struct core_timing_rule {
	const char *formula, *otherwise;
	uint64_t sum_ms, limit_ms;
	bool holds;
	bool safety; /* refused; else only warned of */
};

struct core_timing_model {
	bool known;	       /* with corosync's times */
	uint64_t detect_ms;    /* at worst, until its loss is in the log */
	uint64_t fence_ms;     /* ... until the first try of the fence has an answer */
	uint64_t restart_ms;   /* ... until its VMs may start, if fencing is as fast as measured */
	uint64_t restart_worst_ms; /* ... if one try of the fence gets no answer */
	unsigned row_count, rule_count;
	struct core_timing_row rows[CORE_TIMING_ROWS_MAX];
	struct core_timing_rule rules[CORE_TIMING_RULES_MAX];
};

void core_timing_model(const struct core_timing *timing, const struct core_totem *totem,
		       const struct core_pace *pace, struct core_timing_model *ret_model);

#endif
