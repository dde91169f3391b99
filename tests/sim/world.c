/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual time: events in order, chance, and one run from a plan to its end. */
#include "tests/sim/sim.h"

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

/* A scenario's lines: those that must come, in this order, and those that must not. */
static void expect(const char *text)
{
	uint32_t i;

	for (i = 0; i < sim.plan.expect_count; i++)
		if (sim.plan.expect[i].never && strstr(text, sim.plan.expect[i].text))
			sim.expect_met[i] = true;
	for (i = sim.expect_next; i < sim.plan.expect_count && sim.plan.expect[i].never; i++)
		;
	if (i < sim.plan.expect_count && strstr(text, sim.plan.expect[i].text)) {
		sim.expect_met[i] = true;
		sim.expect_next = i + 1;
	}
}

void sim_say(const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	expect(text);
	if (sim.opt.trace)
		printf("%8llu.%03llu %s\n", (unsigned long long)(sim.now / 1000),
		       (unsigned long long)(sim.now % 1000), text);
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

double sim_clock_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
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

/* When to look again at a node or a clusterd that stands still: healing may end that sooner. */
uint64_t sim_awake_at(uint8_t node)
{
	const struct sim_node *n = &sim.nodes[node];
	uint64_t until = n->stalled_until > n->daemon_stalled ? n->stalled_until : n->daemon_stalled;

	return until < sim.now + 500 ? until + 1 : sim.now + 500;
}

static void wake(uint8_t node)
{
	uint32_t vm;

	sim_oracle_blame(node); /* an incarnation that began while it stood still, too */
	for (vm = 0; vm < SIM_VMS; vm++)
		sim_oracle_vms(vm);
	sim_net_disturb();
}

/* Events of the world, or of a machine whatever its clusterd does.  False: it is of a clusterd. */
static bool handle_world(const struct sim_event *ev)
{
	switch (ev->kind) {
	case SIM_EV_DELIVER:
		sim_cpg_deliver(ev->node);
		return true;
	case SIM_EV_RING:
		sim_net_rings();
		return true;
	case SIM_EV_FLAP:
		sim_net_flap();
		return true;
	case SIM_EV_DAEMON:
		sim_daemon_start(ev->node);
		return true;
	case SIM_EV_BOOT:
		sim_boot(ev->node);
		return true;
	case SIM_EV_WAKE:
		wake(ev->node);
		return true;
	case SIM_EV_GUEST:
		sim_guest_stop(ev->node, ev->a, ev->b);
		return true;
	case SIM_EV_WRITE:
		sim_write(ev->node, ev->a, ev->b);
		return true;
	case SIM_EV_LAND:
		sim_land(ev->a);
		return true;
	case SIM_EV_STEP:
		sim_step(ev->a, ev->node, (uint8_t)ev->b);
		return true;
	case SIM_EV_BUILD:
		sim_build();
		return true;
	case SIM_EV_HEAL:
		sim_heal();
		return true;
	case SIM_EV_CHECK:
		sim_check();
		return true;
	}
	return false;
}

static void handle(const struct sim_event *ev)
{
	struct sim_node *n = &sim.nodes[ev->node];
	struct cl_moment moment;

	if (handle_world(ev) || ev->guard != n->instance || !n->daemon)
		return;
	if (ev->kind != SIM_EV_ORDER && (!sim_node_runs(ev->node) || n->daemon_stalled > sim.now)) {
		/* What is asked of the node meanwhile comes after it. */
		if (ev->kind == SIM_EV_LOCAL && sim_awake_at(ev->node) > n->local_at)
			n->local_at = sim_awake_at(ev->node);
		sim_push(sim_awake_at(ev->node), (enum sim_event_kind)ev->kind, ev->node, ev->a, ev->b);
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
		moment = sim_moment(ev->node, 0);
		cl_moments_add(&n->moments, &moment);
		replica_timer(n->r, sim_now(ev->node), sim_wall(ev->node));
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

/* ---- a run ---------------------------------------------------------------------------------- */

/* Everything starts at zero, but what is big and knows by itself how far it is used. */
static void world_clear(void)
{
	uint8_t *end = (uint8_t *)&sim.entries;
	uint32_t i;

	for (i = 1; i <= sim.ring_count; i++)
		memset(&sim.rings[i], 0, sizeof(sim.rings[i]));
	memset(sim.commit_hash, 0, (sim.commit_max + 1) * sizeof(sim.commit_hash[0]));
	sim.ring_count = sim.heap_count = 0;
	sim.arena_used = 16; /* 0 is nothing's place */
	sim.now = sim.order = 0;
	sim.failed = sim.flap_armed = false;
	sim.why[0] = '\0';
	memset(sim.lun_term, 0, (size_t)((uint8_t *)sim.commit_hash - (uint8_t *)sim.lun_term));
	memset(&sim.commit_max, 0, (size_t)((uint8_t *)sim.history - (uint8_t *)&sim.commit_max));
	sim.history_count = sim.freed_count = 0;
	memset(&sim.cookie_count, 0, (size_t)(end - (uint8_t *)&sim.cookie_count));
	for (i = 0; i <= SIM_NODES; i++) {
		struct sim_node *n = &sim.nodes[i];

		/* The store's array of pointers is bounded by first and last. */
		memset(n, 0, offsetof(struct sim_node, store));
		memset(&n->store, 0, offsetof(struct sim_store, entry));
		n->store.first = 1;
		memset(&n->op_head, 0, sizeof(*n) - offsetof(struct sim_node, op_head));
		n->r = sim.replicas[i];
	}
}

bool sim_run(void)
{
	uint32_t v;

	world_clear();
	sim.rng = sim.plan.world_seed * 0x9fb21c651e98df25u;
	sim.count = sim.plan.nodes;
	sim.volume_count = sim.plan.volumes;
	sim.vm_count = sim.plan.vms;
	for (v = 0; v < SIM_VOLUMES; v++) {
		model_lun_init(&sim.luns[v]);
		sim.luns[v].lazy_abort = sim.plan.lazy_abort;
	}
	sim_maintain_reset();
	sim_plan_start();
	while (!sim.failed && !sim.converged && sim.heap_count) {
		struct sim_event ev = pop();

		sim.now = ev.at;
		handle(&ev);
	}
	sim.entries += sim.commit_max;
	return !sim.failed;
}

bool sim_run_seed(uint64_t seed)
{
	sim.seed = seed;
	plan_make(&sim.plan, seed, sim.opt.nodes, sim.opt.fault_ms);
	return sim_run();
}

int sim_init(void)
{
	uint32_t i;

	sim.opt.fault_ms = 35000;
	sim.arena_cap = (size_t)512 << 20;
	sim.arena = malloc(sim.arena_cap); /* touched only as far as a seed needs */
	for (i = 0; i <= SIM_NODES; i++) {
		sim.replicas[i] = calloc(1, sizeof(struct replica));
		if (!sim.replicas[i])
			return -1;
	}
	return sim.arena ? 0 : -1;
}
