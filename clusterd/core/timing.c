/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which timings are refused, with the inequality in numbers.  timing.h says why it is what it is. */
#include <errno.h>

#include "clusterd/core/internal.h"

static void add(struct core_text *t, const char *name, uint64_t ms, const char *after)
{
	core_text_add(t, name);
	core_text_add(t, " ");
	core_text_u64(t, ms);
	core_text_add(t, after);
}

int core_timing_check(const struct core_timing *timing, char *text, size_t cap_bytes)
{
	struct core_text t;

	if (CORE_TIMING_SAFE(timing))
		return 0;
	core_text_init(&t, text, cap_bytes);
	core_text_add(&t, "not safe: ");
	add(&t, "freeze-kill-ms", timing->freeze_kill_ms, " + ");
	add(&t, "kill", CORE_KILL_EXEC_MS, " + ");
	add(&t, "skew", CORE_SKEW_MS, " = ");
	core_text_u64(&t, (uint64_t)timing->freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS);
	add(&t, " must not be more than takeover-ms", timing->takeover_ms,
	    ": a VM could start elsewhere before the node that lost it has ended it");
	return -EINVAL;
}
