/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim [--seeds N] [--seed S] [--trace] [--nodes N] [--fault-ms MS] [--mutants] [--mutant N]
 *
 * Runs seeds 1..N (or S alone) and prints the rate; ends with 1 at the first violation, naming the
 * seed, which replays it.  --mutants runs the planted bugs, each until a seed catches it.
 */
#include "tests/sim/sim.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct sim sim;
#ifdef HF_MUTANTS
int core_mutant;
#endif

uint64_t sim_random(void)
{
	uint64_t z = (sim.rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void *sim_alloc(size_t len)
{
	void *p;

	len = (len + 15) & ~(size_t)15;
	if (sim.arena_used + len > sim.arena_cap) {
		fprintf(stderr, "sim: seed %llu: the arena is full\n", (unsigned long long)sim.seed);
		exit(99);
	}
	p = sim.arena + sim.arena_used;
	sim.arena_used += len;
	return p;
}

void sim_say(const char *format, ...)
{
	va_list ap;

	printf("%8llu.%03llu ", (unsigned long long)(sim.now / 1000),
	       (unsigned long long)(sim.now % 1000));
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

void sim_fail(const char *format, ...)
{
	va_list ap;

	if (sim.failed)
		return;
	sim.failed = true;
	va_start(ap, format);
	vsnprintf(sim.why, sizeof(sim.why), format, ap);
	va_end(ap);
	SIM_SAY("VIOLATION %s", sim.why);
}

/* ---- events --------------------------------------------------------------------------------- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_push(uint64_t at, enum sim_event_kind kind, uint8_t node, uint32_t a, uint32_t b)
{
	struct sim_event ev = { .at = at, .order = sim.order++, .kind = (uint8_t)kind, .node = node,
				.guard = sim.nodes[node].instance, .a = a, .b = b };
	uint32_t i;

	if (sim.heap_count == sim.heap_cap) {
		sim.heap_cap = sim.heap_cap ? sim.heap_cap * 2 : 4096;
		sim.heap = realloc(sim.heap, sim.heap_cap * sizeof(*sim.heap));
		if (!sim.heap)
			exit(99);
	}
	for (i = sim.heap_count++; i && before(&ev, &sim.heap[(i - 1) / 2]); i = (i - 1) / 2)
		sim.heap[i] = sim.heap[(i - 1) / 2];
	sim.heap[i] = ev;
}

static struct sim_event pop(void)
{
	struct sim_event top = sim.heap[0], last = sim.heap[--sim.heap_count];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < sim.heap_count) {
		if (child + 1 < sim.heap_count && before(&sim.heap[child + 1], &sim.heap[child]))
			child++;
		if (!before(&sim.heap[child], &last))
			break;
		sim.heap[i] = sim.heap[child];
		i = child;
	}
	sim.heap[i] = last;
	return top;
}

static void handle(const struct sim_event *ev)
{
	struct sim_node *n = &sim.nodes[ev->node];
	uint32_t vm;

	switch (ev->kind) {
	case SIM_EV_DELIVER:
		sim_cpg_deliver(ev->node);
		return;
	case SIM_EV_RING:
		sim_cpg_rings();
		return;
	case SIM_EV_DAEMON:
		sim_daemon_start(ev->node);
		return;
	case SIM_EV_BOOT:
		sim_boot(ev->node);
		return;
	case SIM_EV_WAKE:
		for (vm = 0; vm < SIM_VMS; vm++)
			sim_oracle_vms(vm);
		sim_cpg_disturb();
		return;
	case SIM_EV_GUEST:
		sim_guest_stop(ev->node, ev->a, ev->b);
		return;
	case SIM_EV_FAULT:
		sim_fault();
		return;
	case SIM_EV_OPERATOR:
		sim_operator();
		return;
	case SIM_EV_HEAL:
		sim_heal();
		return;
	case SIM_EV_CHECK:
		sim_check();
		return;
	}
	/* What follows belongs to one life of a clusterd. */
	if (ev->guard != n->instance || !n->daemon)
		return;
	if (ev->kind != SIM_EV_ORDER && (!sim_node_runs(ev->node) || n->daemon_stalled > sim.now)) {
		uint64_t at = (n->stalled_until > n->daemon_stalled ? n->stalled_until :
								      n->daemon_stalled) + 1;

		/* What is asked of the node meanwhile comes after it. */
		if (ev->kind == SIM_EV_LOCAL && at > n->local_at)
			n->local_at = at;
		sim_push(at, (enum sim_event_kind)ev->kind, ev->node, ev->a, ev->b);
		return;
	}
	switch (ev->kind) {
	case SIM_EV_ORDER:
		sim_cpg_order(ev);
		break;
	case SIM_EV_FSYNC:
		sim_disk_fsync(ev->node);
		break;
	case SIM_EV_TIMER:
		sim_keys_watch(ev->node);
		replica_timer(n->r, sim.now, sim.now);
		sim_after(ev->node);
		sim_push(sim.now + 200, SIM_EV_TIMER, ev->node, 0, 0);
		break;
	case SIM_EV_RUN:
		sim_run_step(ev->node, ev->a);
		break;
	case SIM_EV_LIST:
		sim_list(ev->node);
		break;
	case SIM_EV_LOCAL:
		sim_local(ev->node, ev->a);
		break;
	}
}

static bool run(uint64_t seed)
{
	struct sim_options opt = sim.opt;
	uint32_t i, v;

	/* Keep the big buffers; everything else starts at zero. */
	sim.seed = sim.rng = seed;
	sim.rng *= 0x2545f4914f6cdd1du;
	sim.now = sim.order = 0;
	sim.failed = sim.healed = sim.converged = false;
	sim.why[0] = '\0';
	sim.heap_count = 0;
	sim.arena_used = 0;
	sim.ring_count = 0;
	sim.operators = sim.faults = sim.commands_acked = 0;
	memset(sim.commit_hash, 0, (sim.commit_max + 1) * sizeof(sim.commit_hash[0]));
	sim.commit_max = 0;
	memset(sim.held, 0, sizeof(sim.held));
	memset(sim.switched, 0, sizeof(sim.switched));
	memset(sim.mount_held, 0, sizeof(sim.mount_held));
	memset(sim.image_there, 0, sizeof(sim.image_there));
	memset(sim.image_used, 0, sizeof(sim.image_used));
	memset(sim.top_generation, 0, sizeof(sim.top_generation));
	memset(sim.vm_acked, 0, sizeof(sim.vm_acked));
	memset(sim.vm_gone, 0, sizeof(sim.vm_gone));
	memset(sim.excused_until, 0, sizeof(sim.excused_until));
	for (i = 0; i <= SIM_NODES; i++) {
		struct sim_node *n = &sim.nodes[i];

		/* The store's array of pointers is bounded by first and last. */
		memset(n, 0, offsetof(struct sim_node, store));
		memset(&n->store, 0, offsetof(struct sim_store, entry));
		n->store.first = 1;
		memset(&n->op_head, 0, sizeof(*n) - offsetof(struct sim_node, op_head));
		n->r = sim.replicas[i];
	}
	sim.count = opt.nodes ? opt.nodes : sim_chance(60) ? 3 : 2 + sim_below(4);
	sim.volume_count = 1 + sim_chance(40);
	sim.vm_count = 1 + sim_below(4);
	for (v = 0; v < SIM_VOLUMES; v++) {
		model_lun_init(&sim.luns[v]);
		sim.lun_term[v] = 0;
		sim.formatted[v] = false;
	}
	sim_maintain_reset();
	sim_schedule_start();
	while (!sim.failed && !sim.converged && sim.heap_count) {
		struct sim_event ev = pop();

		sim.now = ev.at;
		handle(&ev);
	}
	sim.entries += sim.commit_max;
	return !sim.failed;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int seeds_run(uint64_t first, uint64_t count)
{
	double start = now_s(), simulated = 0, spent;
	uint64_t seed;

	for (seed = first; seed < first + count; seed++) {
		if (!run(seed)) {
			printf("seed %llu: %s\n  replay: sim --seed %llu --trace\n",
			       (unsigned long long)seed, sim.why, (unsigned long long)seed);
			return 1;
		}
		simulated += (double)sim.now / 1000;
	}
	spent = now_s() - start;
	printf("%llu seeds, 0 violations; %.0f seeds/s, %.0f simulated seconds each, %.0f x real time, "
	       "%.0f entries/s\n",
	       (unsigned long long)count, (double)count / spent, simulated / (double)count,
	       simulated / spent, (double)sim.entries / spent);
	return 0;
}

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
	{ 51, "quarantine is ignored" },
	{ 52, "a disarmed cluster fences" },
	{ 53, "a plan is made for other nodes than there are" },
	{ 40, "hard anti-affinity is taken for soft" },
	{ 41, "the failover limit is ignored" },
	{ 43, "possible owners are ignored" },
};

static int mutants_run(int only, uint64_t seeds)
{
	unsigned i, caught = 0, all = 0;

	for (i = 0; i < CL_ARRAY_LEN(mutants); i++) {
		uint64_t seed;
		double start = now_s();

		if (only && mutants[i].number != only)
			continue;
		all++;
		core_mutant = mutants[i].number;
		for (seed = 1; seed <= seeds && run(seed); seed++)
			;
		if (seed <= seeds)
			caught++;
		printf("mutant %2d %s: %s%s (seed %llu, %.1f s)\n", mutants[i].number,
		       mutants[i].what, seed <= seeds ? "caught: " : "NOT caught",
		       seed <= seeds ? sim.why : "", (unsigned long long)seed, now_s() - start);
		fflush(stdout);
	}
	core_mutant = 0;
	printf("caught %u of %u\n", caught, all);
	return caught == all ? 0 : 1;
}
#endif

static int usage(void)
{
	fprintf(stderr, "usage: sim [--seeds N] [--seed S] [--trace] [--nodes N] [--fault-ms MS]"
			" [--mutants] [--mutant N]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' },  { "seed", required_argument, NULL, 's' },
		{ "trace", no_argument, NULL, 't' },	    { "nodes", required_argument, NULL, 'N' },
		{ "fault-ms", required_argument, NULL, 'f' }, { "mutants", no_argument, NULL, 'M' },
		{ "mutant", required_argument, NULL, 'm' }, { NULL, 0, NULL, 0 },
	};
	uint64_t seeds = 2000, first = 1;
	bool mutants_wanted = false;
	int c, mutant = 0;
	uint32_t i;

	sim.opt.fault_ms = 30000;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			seeds = strtoull(optarg, NULL, 10);
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
		case 'M':
			mutants_wanted = true;
			break;
		case 'm':
			mutant = atoi(optarg);
			break;
		default:
			return usage();
		}
	}
	sim.arena_cap = (size_t)512 << 20;
	sim.arena = malloc(sim.arena_cap); /* touched only as far as a seed needs */
	for (i = 0; i <= SIM_NODES; i++) {
		sim.replicas[i] = calloc(1, sizeof(struct replica));
		if (!sim.replicas[i])
			return 99;
	}
	if (!sim.arena)
		return 99;
#ifdef HF_MUTANTS
	if (mutants_wanted)
		return mutants_run(mutant, seeds);
	core_mutant = mutant;
#else
	if (mutants_wanted || mutant) {
		fprintf(stderr, "sim: this is the shipped code: it has no planted bugs (sim-mutants has)\n");
		return 2;
	}
#endif
	return seeds_run(first, seeds);
}
