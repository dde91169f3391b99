/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A failing seed's plan is cut down: steps left out, in halves, quarters, one by one; then what
 * is left made simpler (no trigger's count, no losses, no drift, fewer VMs).  A change is kept if the same
 * invariant fails, with the same world seed or one of a few others, because with fewer steps chance
 * runs another way.  The end is a scenario file.
 *
 * Scenario files are run here, too.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 12u /* world seeds for each change */

static char wanted[16]; /* the invariant: "I1" */
static struct plan best;
static unsigned runs;

static bool same_failure(void)
{
	return sim.failed && strncmp(sim.why, wanted, strlen(wanted)) == 0;
}

/* Does the plan fail alike?  Then it is the best so far. */
static bool keep(const struct plan *plan)
{
	unsigned i;

	for (i = 0; i < TRIES; i++) {
		sim.plan = *plan;
		sim.plan.world_seed = best.world_seed + i * 7919u * (i > 0);
		runs++;
		sim_run();
		if (!same_failure())
			continue;
		best = sim.plan;
		return true;
	}
	return false;
}

static bool without(uint32_t from, uint32_t count)
{
	static struct plan plan;

	plan = best;
	memmove(&plan.steps[from], &plan.steps[from + count],
		(plan.count - from - count) * sizeof(plan.steps[0]));
	plan.count -= count;
	return keep(&plan);
}

static void fewer_steps(void)
{
	uint32_t size, from;

	for (size = best.count / 2; size; size /= 2)
		for (from = 0; from < best.count;)
			if (!without(from, size < best.count - from ? size : best.count - from))
				from += size;
}

#define SIMPLER(change)                                                                            \
	do {                                                                                       \
		static struct plan plan;                                                           \
		plan = best;                                                                       \
		change;                                                                            \
		if (memcmp(&plan, &best, sizeof(plan)) != 0)                                       \
			keep(&plan);                                                               \
	} while (0)

static void simpler(void)
{
	uint32_t i;

	SIMPLER(plan.p_lost = 0);
	SIMPLER(plan.p_fail = 0);
	SIMPLER(plan.p_slow = 0);
	SIMPLER(plan.store = 0);
	SIMPLER(plan.lazy_abort = false);
	SIMPLER(memset(plan.drift_ppm, 0, sizeof(plan.drift_ppm)));
	SIMPLER(plan.vms = 1);
	SIMPLER(plan.volumes = 1);
	SIMPLER(plan.nodes = 3);
	for (i = 0; i < best.count; i++) {
		SIMPLER(plan.steps[i].nth = 1);
		SIMPLER(plan.steps[i].when = PLAN_NOW; plan.steps[i].arg = 0; plan.steps[i].nth = 0);
		SIMPLER(plan.steps[i].for_ms = plan.steps[i].for_ms > 3000 ? 3000 :
									    plan.steps[i].for_ms);
	}
	for (i = 0; i < best.count; i++)
		if (i + 1 == best.count && best.steps[i].at_ms + 20000 < best.heal_ms)
			SIMPLER(plan.heal_ms = plan.steps[i].at_ms + 20000);
}

int sim_shrink(uint64_t seed, const char *path)
{
	uint32_t before;
	FILE *file;

	if (sim_run_seed(seed)) {
		printf("seed %llu: no violation\n", (unsigned long long)seed);
		return 2;
	}
	snprintf(wanted, sizeof(wanted), "%.*s", (int)strcspn(sim.why, ":"), sim.why);
	best = sim.plan;
	before = best.count;
	fewer_steps();
	simpler();
	fewer_steps();
	sim.plan = best;
	sim_run();
	best.mutant = sim_mutant_now();
	snprintf(best.title, sizeof(best.title), "seed %llu: %.100s", (unsigned long long)seed, sim.why);
	snprintf(best.caught, sizeof(best.caught), "%.7s", wanted);
	file = fopen(path, "w");
	if (!file) {
		perror(path);
		return 99;
	}
	plan_print(&best, file);
	fclose(file);
	printf("%s: %u of %u steps left after %u runs: %s\n", path, best.count, before, runs, sim.why);
	return 1;
}

/* ---- scenario files ------------------------------------------------------------------------- */

static int missing(const char *path)
{
	uint32_t i;

	for (i = 0; i < sim.plan.expect_count; i++) {
		if (sim.expect_met[i] != sim.plan.expect[i].never)
			continue;
		printf("%s: %s: %s\n", path, sim.plan.expect[i].never ? "came, and must not" : "did not come",
		       sim.plan.expect[i].text);
		return 1;
	}
	return 0;
}

static int judge(const char *path, bool planted)
{
	if (planted) {
		if (sim.failed && strncmp(sim.why, sim.plan.caught, strlen(sim.plan.caught)) == 0)
			return 0;
		printf("%s: planted bug %d was not caught as %s but: %s\n", path, sim.plan.mutant,
		       sim.plan.caught, sim.failed ? sim.why : "nothing");
		return 1;
	}
	if (sim.failed) {
		printf("%s: %s\n", path, sim.why);
		return 1;
	}
	return missing(path);
}

/* With its planted bug, where that is compiled in, it must be caught; without it must be clean. */
int sim_scenario(const char *path)
{
	char error[256];
	int rc = 0;

	if (plan_read(&sim.plan, path, error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		return 2;
	}
	if (sim_mutant_set(sim.plan.mutant)) {
		sim_run();
		rc = judge(path, true);
		sim_mutant_set(0);
	}
	sim_run();
	rc |= judge(path, false);
	printf("%s %s: %s\n", rc ? "FAIL" : "ok  ", path, sim.plan.title);
	return rc;
}
