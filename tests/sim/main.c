/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * simulator [--seeds N] [--first N] [--seed S] [--trace] [--nodes N] [--fault-ms MS] [--jobs N]
 *           [--print] [--shrink FILE] [--scenario FILE...] [--mutants] [--mutant N]
 *
 * Runs N seeds, on --jobs processes, and prints the rate; ends with 1 at the first violation, naming the seed,
 * which replays it.  --print shows a seed's plan, --shrink writes a shorter one that fails
 * alike to a scenario file.  --scenario runs such files.  --mutants: planted bugs, each until a seed catches it.
 */
#include "tests/sim/sim.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED_MAX 8u /* so many are shown of each process, then it stops */
#define TWIN_EVERY 64u

struct tally {
	uint64_t seeds, entries, steps;
	double simulated, longest;
	uint64_t short_runs; /* less than 60 simulated seconds */
	uint64_t failed;     /* seeds */
};

/* Clocks that people set decide nothing: the same run without their steps decides alike, to the letter. */
static bool twin(uint64_t seed)
{
	uint64_t decisions = sim.decisions;
	uint32_t i;
	bool ok;

	plan_make(&sim.plan, seed, sim.opt.nodes, sim.opt.fault_ms);
	for (i = 0; i < sim.plan.count; i++)
		if (sim.plan.steps[i].act == PLAN_WALL)
			sim.plan.steps[i].value = 0;
	ok = sim_run();
	if (ok && decisions != sim.decisions)
		sim_fail("M11: other decisions when nobody sets a wall clock");
	return !sim.failed;
}

static void seeds_of(struct tally *t, uint64_t first, uint64_t end, unsigned every)
{
	uint64_t seed;

	for (seed = first; seed < end && t->failed < FAILED_MAX; seed += every) {
		if (!sim_run_seed(seed) || (seed % TWIN_EVERY == 0 && !twin(seed))) {
			printf("seed %llu: %s\n  replay: simulator --seed %llu --trace\n",
			       (unsigned long long)seed, sim.why, (unsigned long long)seed);
			fflush(stdout);
			t->failed++;
		}
		t->seeds++;
		t->simulated += (double)sim.now / 1000;
		t->steps += sim.steps_done;
		t->short_runs += sim.now < 60000;
		if ((double)sim.now / 1000 > t->longest)
			t->longest = (double)sim.now / 1000;
	}
	t->entries = sim.entries;
}

static int seeds_run(uint64_t first, uint64_t count, unsigned jobs)
{
	struct tally all = { 0 }, one;
	double start = sim_clock_s(), spent;
	int pipes[2];
	unsigned i;

	if (pipe(pipes))
		return 99;
	for (i = 0; i < jobs; i++) {
		pid_t pid = jobs > 1 ? fork() : 0;

		if (pid < 0)
			return 99;
		if (pid)
			continue;
		memset(&one, 0, sizeof(one));
		seeds_of(&one, first + i, first + count, jobs);
		if (write(pipes[1], &one, sizeof(one)) != (ssize_t)sizeof(one))
			_exit(99);
		if (jobs > 1)
			_exit(0);
	}
	for (i = 0; i < jobs; i++) {
		if (read(pipes[0], &one, sizeof(one)) != (ssize_t)sizeof(one))
			return 99; /* one died */
		all.seeds += one.seeds;
		all.entries += one.entries;
		all.steps += one.steps;
		all.simulated += one.simulated;
		all.short_runs += one.short_runs;
		if (one.longest > all.longest)
			all.longest = one.longest;
		all.failed += one.failed;
	}
	while (jobs > 1 && wait(NULL) > 0)
		;
	spent = sim_clock_s() - start;
	printf("%llu seeds, %llu violations, %.0f s: %.0f seeds/s on %u processes; each %.0f simulated seconds"
	       " (%llu below 60, longest %.0f), %.0f x real time; %llu faults and commands, %.0f entries/s\n",
	       (unsigned long long)all.seeds, (unsigned long long)all.failed, spent,
	       (double)all.seeds / spent, jobs,
	       all.simulated / (double)all.seeds, (unsigned long long)all.short_runs, all.longest,
	       all.simulated / spent, (unsigned long long)all.steps, (double)all.entries / spent);
	return all.failed ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: simulator [--seeds N] [--first N] [--seed S] [--trace] [--nodes N]"
			" [--fault-ms MS] [--jobs N]\n                 [--print] [--shrink FILE]"
			" [--scenario FILE...] [--mutants] [--mutant N]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' },    { "first", required_argument, NULL, 'F' },
		{ "seed", required_argument, NULL, 's' },     { "trace", no_argument, NULL, 't' },
		{ "nodes", required_argument, NULL, 'N' },    { "fault-ms", required_argument, NULL, 'f' },
		{ "jobs", required_argument, NULL, 'j' },     { "print", no_argument, NULL, 'p' },
		{ "shrink", required_argument, NULL, 'S' },   { "scenario", no_argument, NULL, 'c' },
		{ "mutants", no_argument, NULL, 'M' },	      { "mutant", required_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t seeds = 2000, first = 1;
	bool mutants = false, print = false, scenario = false;
	const char *shrink = NULL;
	unsigned jobs = 1;
	int c, mutant = 0, rc = 0;

	if (sim_init())
		return 99;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			seeds = strtoull(optarg, NULL, 10);
			break;
		case 'F':
			first = strtoull(optarg, NULL, 10);
			break;
		case 's':
			first = strtoull(optarg, NULL, 10);
			seeds = 1;
			break;
		case 't':
			sim.opt.trace = true;
			break;
		case 'N':
			sim.opt.nodes = (uint32_t)strtoul(optarg, NULL, 10);
			if (sim.opt.nodes < 1 || sim.opt.nodes > SIM_NODES)
				return usage();
			break;
		case 'f':
			sim.opt.fault_ms = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			jobs = (unsigned)strtoul(optarg, NULL, 10);
			if (jobs < 1 || jobs > 64)
				return usage();
			break;
		case 'p':
			print = true;
			break;
		case 'S':
			shrink = optarg;
			break;
		case 'c':
			scenario = true;
			break;
		case 'M':
			mutants = true;
			break;
		case 'm':
			mutant = atoi(optarg);
			break;
		default:
			return usage();
		}
	}
	if (scenario) {
		for (; optind < argc; optind++)
			rc |= sim_scenario(argv[optind]);
		return rc;
	}
	if (optind < argc)
		return usage();
	if (mutants)
		return sim_mutants_run(mutant, seeds);
#ifdef HF_MUTANTS
	core_mutant = mutant;
#else
	if (mutant)
		return sim_mutants_run(mutant, 0);
#endif
	if (print) {
		plan_make(&sim.plan, first, sim.opt.nodes, sim.opt.fault_ms);
		plan_print(&sim.plan, stdout);
		return 0;
	}
	if (shrink)
		return sim_shrink(first, shrink);
	return seeds_run(first, seeds, jobs);
}
