/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When corosync is there: do its times and the cluster's settings fit?  One line in the log for each inequality
 * that does not hold; `clusterctl timing` shows them all.  What is not safe was refused when it was set.
 */
#include <stdlib.h>

#include "clusterd/daemon.h"
#include "clusterd/totem_cmap.h"
#include "common/cl_log.h"

struct look {
	struct cd_job job;
	struct cd *cd;
	struct core_totem totem;
};

static void look_run(struct cd_job *job)
{
	((struct look *)job)->totem = cd_totem_read();
}

static void look_done(struct cd_job *job)
{
	struct look *look = (struct look *)job;
	const struct core_state *st = cd_state(look->cd);
	struct core_timing_model model;
	struct core_pace pace;

	if (st && st->name[0]) {
		core_pace_read(st, &pace);
		core_timing_model(&st->timing, &look->totem, &pace, &model);
		for (unsigned i = 0; i < model.rule_count; i++) {
			const struct core_timing_rule *rule = &model.rules[i];

			if (!rule->holds)
				cl_warning("timing: %s does not hold: %llu > %llu: %s", rule->formula,
					   (unsigned long long)rule->sum_ms,
					   (unsigned long long)rule->limit_ms, rule->otherwise);
		}
	}
	free(look);
}

void cd_timing_warn(struct cd *cd)
{
	struct look *look = calloc(1, sizeof(*look));

	if (!look)
		abort();
	look->job = (struct cd_job){ .run = look_run, .done = look_done };
	look->cd = cd;
	cd_pool_submit(cd->work, &look->job);
}
