/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which timings are refused, with the inequality in numbers.  timing.h says why it is what it is. */
#include <errno.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/model.h"

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

/* ---- the model ------------------------------------------------------------------------------ */

static void row(struct core_timing_model *m, const char *phase, const char *what, uint64_t ms,
		const char *text)
{
	if (m->row_count < CORE_TIMING_ROWS_MAX)
		m->rows[m->row_count++] = (struct core_timing_row){
			.phase = phase, .what = what, .text = text, .ms = ms, .used = true
		};
}

static void unused(struct core_timing_model *m, const char *what, const char *text)
{
	row(m, "not used", what, 0, text);
	m->rows[m->row_count - 1].used = false;
}

/* sum of the parts must not be more than limit */
static void rule(struct core_timing_model *m, bool safety, uint64_t sum, uint64_t limit_ms,
		 const char *formula, const char *else_text)
{
	struct core_timing_rule *r = &m->rules[m->rule_count++];

	r->holds = sum <= limit_ms;
	r->safety = safety;
	r->sum_ms = sum;
	r->limit_ms = limit_ms;
	r->formula = formula;
	r->otherwise = else_text;
}

void core_timing_model(const struct core_timing *t, const struct core_totem *totem,
		       const struct core_pace *pace, struct core_timing_model *ret_model)
{
	struct core_timing_model *m = ret_model;
	uint64_t detect = totem->known ? (uint64_t)totem->token_ms + totem->consensus_ms : 0;
	uint64_t hold = (uint64_t)t->takeover_ms + CORE_TICK_MS;
	uint64_t fence = CORE_FENCE_TRY_MS, own = pace->ms[CORE_PACE_OWN];

	m->row_count = m->rule_count = 0;
	if (totem->known) {
		row(m, "detection", "token", totem->token_ms, "corosync: a token is missed");
		row(m, "detection", "consensus", totem->consensus_ms,
		    "corosync: the others agree that it is gone");
	}
	row(m, "detection", "silent-ms", t->silent_ms,
	    "only clusterd is gone: the node is left alone this long");
	row(m, "detection", "unheard", CORE_UNHEARD_MS,
	    "clusterd stands still: the others take it for gone");
	row(m, "the lost node", "lease", CORE_LEASE_MS(t),
	    "its VMs freeze by themselves so long after its last proof of a majority");
	row(m, "the lost node", "freeze-kill-ms", t->freeze_kill_ms,
	    "its clusterd freezes at once and kills them so long after");
	row(m, "fencing", "preempt-and-abort", pace->ms[CORE_PACE_FENCE],
	    pace->samples[CORE_PACE_FENCE] ? "as measured here" : "assumed, nothing was measured");
	row(m, "fencing", "one try at most", fence, "a LUN that does not answer; then another node tries");
	row(m, "restart", "takeover-ms", t->takeover_ms,
	    "its VMs start elsewhere not sooner after its loss");
	row(m, "restart", "tick", CORE_TICK_MS, "grain of the cluster's time");
	row(m, "restart", "volume", own, "a node takes over a volume that the lost one owned");
	row(m, "restart", "start", pace->ms[CORE_PACE_START], "a VM's process starts");
	unused(m, "disk heartbeat", "a lost node is not told from an isolated one; proof decides");
	unused(m, "sanlock", "no lease of it is asked for");
	unused(m, "watchdog", "a node that stands still is stopped by its VMs' lease and its fence");
	unused(m, "path timeout", "a path's failure redirects I/O; no decision waits for it");
	m->known = totem->known;
	m->detect_ms = detect;
	m->fence_ms = detect + fence;
	/* The hold and the fencing begin together. */
	m->restart_ms = detect + (hold > pace->ms[CORE_PACE_FENCE] + own ?
					  hold :
					  pace->ms[CORE_PACE_FENCE] + own);
	m->restart_worst_ms = detect + (hold > fence + own ? hold : fence + own);
	rule(m, true, CORE_LEASE_MS(t) + CORE_LEASE_STOP_MS, t->takeover_ms,
	     "lease + stop <= takeover-ms", "a VM could run on while it starts elsewhere");
	rule(m, true, (uint64_t)t->freeze_kill_ms + CORE_KILL_EXEC_MS + CORE_SKEW_MS, t->takeover_ms,
	     "freeze-kill-ms + kill + skew <= takeover-ms",
	     "a VM could start elsewhere before the node that lost it has ended it");
	if (totem->known)
		rule(m, false, detect + 2 * CORE_BEAT_MS, CORE_LEASE_MS(t),
		     "token + consensus + 2 beats <= lease",
		     "the VMs of nodes that are well would freeze for a moment whenever a node dies");
}
