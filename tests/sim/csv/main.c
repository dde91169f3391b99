/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv-simulator [--seeds N] [--seed N] [--trace] [--mutants]: seeds without a violation, or each
 * planted bug found by one.
 */
#include "tests/sim/csv/sim.h"

#include "common/cl_types.h"
#include "csv/mutant.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const kinds[CSV_SIM_KINDS] = {
	"writes through the owner", "changes of a map", "layouts",
	"exclusive opens",	    "fences",		"reclaims",
	"changes of owner",
};

#ifdef HF_MUTANTS
static const struct {
	int number;
	const char *what;
} mutants[] = {
	{ 1, "an owner does not ask what the file remembers" },
	{ 2, "the disk of one VM is opened by another" },
	{ 3, "a lower generation is admitted after a higher one" },
	{ 4, "one generation is admitted on two nodes" },
	{ 5, "a VM is admitted beside a change that has begun" },
	{ 6, "a displaced VM is not waited for" },
	{ 7, "ordinary layouts are not recalled for a VM" },
	{ 11, "a file is changed though a VM has it" },
	{ 13, "a layout is granted while a recall is out" },
	{ 14, "a return that crossed a newer grant ends that one" },
	{ 15, "two nodes get a layout to write" },
	{ 16, "a late close of a former generation ends the present one" },
	{ 17, "a change of the map is not counted" },
	{ 18, "the entry of a file is forgotten while a change runs" },
	{ 19, "a layout to read is granted beside one to write" },
	{ 20, "a recall leaves out who only reads" },
	{ 21, "a recall that is out is not waited for by the second who needs it" },
};

/* In a process of its own: an assert that fails is as good as a violation. */
static bool caught(int number, uint64_t seeds, const char *what)
{
	struct csv_sim_result result;
	uint64_t seed;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		csv_mutant = number;
		(void)!freopen("/dev/null", "w", stderr);
		for (seed = 1; seed <= seeds && csv_sim_run(seed, false, &result); seed++)
			;
		if (seed > seeds)
			_exit(1);
		printf("csv mutant %2d caught by seed %llu: %s: %s\n", number,
		       (unsigned long long)seed, what, result.why);
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0)
		return false;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
		printf("csv mutant %2d caught by an assert: %s\n", number, what);
		return true;
	}
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	printf("csv mutant %2d NOT caught by %llu seeds: %s\n", number, (unsigned long long)seeds,
	       what);
	return false;
}

static int mutants_run(uint64_t seeds)
{
	unsigned hits = 0, i;

	for (i = 0; i < CL_ARRAY_LEN(mutants); i++)
		hits += caught(mutants[i].number, seeds, mutants[i].what);
	printf("%u of %zu planted bugs of the owner caught\n", hits, CL_ARRAY_LEN(mutants));
	return hits == CL_ARRAY_LEN(mutants) ? 0 : 1;
}
#endif

static int seeds_run(uint64_t seeds)
{
	unsigned long long sum[CSV_SIM_KINDS] = { 0 };
	struct csv_sim_result result;
	uint64_t seed, bad = 0;
	int k;

	for (seed = 1; seed <= seeds; seed++) {
		if (!csv_sim_run(seed, false, &result) && ++bad <= 5)
			printf("seed %llu: %s\n", (unsigned long long)seed, result.why);
		for (k = 0; k < CSV_SIM_KINDS; k++)
			sum[k] += result.done[k];
	}
	printf("csv: %llu seeds, %llu violations;", (unsigned long long)seeds,
	       (unsigned long long)bad);
	for (k = 0; k < CSV_SIM_KINDS; k++) {
		printf(" %llu %s%s", sum[k], kinds[k], k + 1 < CSV_SIM_KINDS ? "," : "\n");
		if (!sum[k] && seeds >= 100) {
			printf("\nno %s at all: nothing was tried\n", kinds[k]);
			bad++;
		}
	}
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 2000, seed = 0;
	bool trace = false, bugs = false;
	struct csv_sim_result result;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seeds") && i + 1 < argc)
			seeds = strtoull(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--trace"))
			trace = true;
		else if (!strcmp(argv[i], "--mutants"))
			bugs = true;
		else {
			fprintf(stderr, "usage: csv-simulator [--seeds N] [--seed N] [--trace] "
					"[--mutants]\n");
			return 2;
		}
	}
#ifdef HF_MUTANTS
	if (bugs)
		return mutants_run(seeds);
#endif
	if (bugs) {
		fprintf(stderr, "no bugs are planted here: csv-simulator-mutants has them\n");
		return 2;
	}
	if (!seed)
		return seeds_run(seeds);
	if (csv_sim_run(seed, trace, &result))
		printf("seed %llu: no violation\n", (unsigned long long)seed);
	else
		printf("seed %llu: %s\n", (unsigned long long)seed, result.why);
	return result.why[0] ? 1 : 0;
}
