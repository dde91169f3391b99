/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network and the clocks: who reaches whom, and what corosync makes of it.
 *
 * totem forms a ring only of nodes that hear each other both ways.  Where that is no equivalence
 * (A and C both with B, and not with each other; or A heard by B, and deaf to it) somebody is left
 * out, and is heard, or hears, all the same: the ring breaks soon and another one forms, as long
 * as the cut lasts (corosync 750, 760).
 */
#include "tests/sim/sim.h"

#include <string.h>

/* ---- clocks --------------------------------------------------------------------------------- */

#define BOOT_MS 1000u /* what a clock says when clusterd could first look */
#define RTC_MS	1700000000000u

static uint64_t clock_lost_ms(const struct sim_node *n)
{
	uint64_t until = n->stalled_until < sim.now ? n->stalled_until : sim.now;

	return n->frozen_ms + (n->frozen_from ? until - n->frozen_from : 0);
}

uint64_t sim_now(uint8_t node)
{
	const struct sim_node *n = &sim.nodes[node];
	uint64_t since = sim.now - n->booted_at - clock_lost_ms(n);

	return BOOT_MS + since + (uint64_t)((int64_t)since * n->drift_ppm / 1000000);
}

void sim_clock_stall(uint8_t node, bool frozen)
{
	struct sim_node *n = &sim.nodes[node];

	n->frozen_ms = clock_lost_ms(n);
	n->frozen_from = frozen ? sim.now : 0;
}

struct cl_moment sim_moment(uint8_t node, uint64_t ago_ms)
{
	/* The board's clock: of another phase on each node, and it runs on whatever happens. */
	uint64_t boot_ms = sim_now(node), board_ms = RTC_MS + sim.now + 137u * node;
	struct cl_moment m = { .boot_ms = boot_ms > ago_ms ? boot_ms - ago_ms : 0,
			       .rtc_s = (board_ms - ago_ms) / 1000 };

	return m;
}

uint64_t sim_wall(uint8_t node)
{
	int64_t wall = 1700000000000 + (int64_t)sim.now + sim.nodes[node].wall_off_ms;

	return (uint64_t)wall;
}

/* ---- who reaches whom ----------------------------------------------------------------------- */

static bool speaks(uint8_t node)
{
	return sim.nodes[node].power && sim.nodes[node].corosync && sim_node_runs(node);
}

/* A packet of from arrives at to. */
bool sim_reaches(uint8_t from, uint8_t to)
{
	const struct sim_node *a = &sim.nodes[from], *b = &sim.nodes[to];

	if (!speaks(from) || !speaks(to))
		return false;
	if (from == to)
		return true;
	return !a->isolated && !b->isolated && a->side == b->side &&
	       !(b->deaf & CORE_NODE_BIT(from));
}

bool sim_mutual(uint8_t a, uint8_t b)
{
	return sim_reaches(a, b) && sim_reaches(b, a);
}

/* ---- rings ---------------------------------------------------------------------------------- */

static void rings_later(void)
{
	sim_push(sim.now + 1000 + sim_below(1500), SIM_EV_RING, 0, 0, 0);
}

void sim_net_disturb(void)
{
	bool changed = false;
	uint8_t a, b;

	for (a = 1; a <= sim.count; a++) {
		struct sim_ring *ring = sim_cpg_ring(a);

		if (!ring) {
			changed |= speaks(a);
			continue;
		}
		changed |= ring->frozen && speaks(a); /* all of them stood still when another was to form */
		for (b = 1; b <= sim.count; b++) {
			bool together = ring->nodes & CORE_NODE_BIT(b);

			if (together == sim_mutual(a, b))
				continue;
			changed = true;
			if (together)
				ring->frozen = true; /* its token is lost */
		}
	}
	if (changed)
		rings_later();
}

/* Each node hears nobody but those in its ring. */
static bool settled(void)
{
	uint8_t a, b;

	for (a = 1; a <= sim.count; a++)
		for (b = 1; b <= sim.count; b++) {
			const struct sim_ring *ring = sim_cpg_ring(a);

			if (ring && speaks(b) && !(ring->nodes & CORE_NODE_BIT(b)) && sim_reaches(b, a))
				return false;
		}
	return true;
}

void sim_net_flap(void)
{
	uint8_t a, b;

	sim.flap_armed = false;
	for (a = 1; a <= sim.count; a++)
		for (b = 1; b <= sim.count; b++) {
			struct sim_ring *ring = sim_cpg_ring(a);

			if (ring && speaks(b) && !(ring->nodes & CORE_NODE_BIT(b)) && sim_reaches(b, a))
				ring->frozen = true;
		}
	rings_later();
}

/* Groups in which everybody hears everybody; whom chance takes first where it is not clear. */
void sim_net_rings(void)
{
	uint8_t order[SIM_NODES], count = 0, i, k;
	core_nodes done = 0;

	for (i = 1; i <= sim.count; i++)
		if (speaks(i))
			order[count++] = i;
	for (i = count; i > 1; i--) {
		uint8_t other = (uint8_t)sim_below(i), node = order[i - 1];

		order[i - 1] = order[other];
		order[other] = node;
	}
	for (i = 0; i < count; i++) {
		core_nodes group = CORE_NODE_BIT(order[i]);

		if (done & group)
			continue;
		for (k = 0; k < count; k++) {
			uint8_t id, node = order[k];
			bool all = !(done & CORE_NODE_BIT(node));

			for (id = 1; id <= sim.count && all; id++)
				all = !(group & CORE_NODE_BIT(id)) || sim_mutual(id, node);
			if (all)
				group |= CORE_NODE_BIT(node);
		}
		done |= group;
		if (!sim_cpg_ring_new(group))
			return;
	}
	if (!sim.flap_armed && !settled()) {
		sim.flap_armed = true;
		sim_push(sim.now + 200 + sim_below(4000), SIM_EV_FLAP, 0, 0, 0);
	}
}
