/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Planted bugs.  Each is compiled into simulator-mutants at its place (CORE_MUTANT, LOG_MUTANT) and switched on by number: a checker that has never caught
 * anything proves nothing.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

#ifdef HF_MUTANTS
static const struct {
	int number;
	const char *what;
} mutants[] = {
	{ 1, "takes over without waiting for the proof" },
	{ 2, "an unknown outcome of fencing counts as proof" },
	{ 3, "a missing key counts as proof" },
	{ 4, "a volume gets an owner while others may still write" },
	{ 5, "an unknown outcome of taking a volume counts as failure" },
	{ 6, "no hold: VMs restart before the isolated node's own deadline" },
	{ 7, "a start does not ask whether a copy may exist" },
	{ 8, "a start does not raise the generation" },
	{ 9, "an unknown outcome of a start counts as failure" },
	{ 10, "an aborted migration resumes both sides" },
	{ 11, "after the commit the source is told that it was aborted" },
	{ 12, "a time-out in a migration counts as ready" },
	{ 13, "a saved image that may have been used is used again" },
	{ 14, "cluster time runs faster than a clock" },
	{ 15, "an isolated node does not kill its VMs" },
	{ 16, "entries are committed on delivery, before they are durable" },
	{ 17, "a promise is answered before it is durable" },
	{ 18, "a node acknowledges what it has not fsynced" },
	{ 19, "a laggard takes the new epoch's base for its own end" },
	{ 20, "the shortest log wins a merge" },
	{ 21, "a vmm ignores its lease" },
	{ 22, "a lease counts from when it is given, not from when the node was heard" },
	{ 23, "a disk that has less than it acknowledged votes all the same" },
	{ 26, "the answer of an old kill clears a newer copy" },
	{ 27, "a VM made again begins again with generation 1" },
	{ 29, "cluster time is taken from the wall clock" },
	{ 30, "a question whose answer was lost is not asked again" },
	{ 32, "a node that killed its VMs does not tell anew what runs" },
	{ 33, "a node without clusterd is given up at once" },
	{ 34, "a proposal that was accepted is sent again" },
	{ 40, "hard anti-affinity is taken for soft" },
	{ 41, "the failover limit is ignored" },
	{ 43, "possible owners are ignored" },
	{ 51, "quarantine is ignored" },
	{ 52, "a disarmed cluster fences" },
	{ 53, "a plan is made for other nodes than there are" },
	{ 54, "a reset that the boot before was asked for is done in the next" },
	{ 55, "a csvd that died together with its clusterd is taken for the one before" },
	{ 63, "a node that lost its paths keeps what it holds" },
	{ 61, "a vmm asks only the clock that stands still with its machine" },
	{ 36, "a failed take-over of a volume is not released before the next" },
};

static bool caught(int number, uint64_t seeds, double start)
{
	uint64_t seed;

	for (seed = 1; seed <= seeds; seed++)
		if (!sim_run_seed(seed)) {
			printf("mutant %2d caught by seed %llu (%.1f s): %s\n", number,
			       (unsigned long long)seed, sim_clock_s() - start, sim.why);
			return true;
		}
	printf("mutant %2d NOT caught by %llu seeds (%.1f s)\n", number, (unsigned long long)seeds,
	       sim_clock_s() - start);
	return false;
}

int sim_mutants_run(int only, uint64_t seeds)
{
	unsigned i, hits = 0, all = 0;

	for (i = 0; i < CL_ARRAY_LEN(mutants); i++) {
		if (only && mutants[i].number != only)
			continue;
		all++;
		core_mutant = mutants[i].number;
		printf("mutant %2d: %s\n", mutants[i].number, mutants[i].what);
		hits += caught(mutants[i].number, seeds, sim_clock_s());
		fflush(stdout);
	}
	core_mutant = 0;
	printf("caught %u of %u\n", hits, all);
	return hits == all && all ? 0 : 1;
}

bool sim_mutant_set(int number)
{
	core_mutant = number;
	return number != 0;
}

int sim_mutant_now(void)
{
	return core_mutant;
}
#else
bool sim_mutant_set(int number)
{
	(void)number;
	return false;
}

int sim_mutant_now(void)
{
	return 0;
}

int sim_mutants_run(int only, uint64_t seeds)
{
	(void)only;
	(void)seeds;
	fprintf(stderr, "sim: this is the shipped code: it has no planted bugs (simulator-mutants has)\n");
	return 2;
}
#endif
