/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of corosync: rings with agreed order and virtual synchrony.
 *
 * A ring is a list of items in agreed order: messages, and configurations of the group of clusterds.
 * Each member takes them in that order at its own pace.  When its token is lost nothing is ordered any more in a ring;
 * after a while new ones form (net.c).  Members that go on together deliver the same items of the old
 * ring before the new one's first configuration (extended virtual synchrony): what the dead have seen or sent
 * may be among them or not.  Messages that were sent and not ordered are sent again in the new ring: CPG keeps
 * them queued.
 */
#include "tests/sim/sim.h"

#include "clusterd/log/message.h"

#include <string.h>

static struct sim_ring *ring_of(uint8_t node)
{
	return sim.nodes[node].ring ? &sim.rings[sim.nodes[node].ring] : NULL;
}

static void item_add(struct sim_ring *ring, const struct sim_ring_item *item)
{
	uint8_t id;

	if (ring->count == ring->cap) {
		uint32_t cap = ring->cap ? ring->cap * 2 : 64;
		struct sim_ring_item *items = sim_alloc(cap * sizeof(*items));

		if (ring->count)
			memcpy(items, ring->items, ring->count * sizeof(*items));
		ring->items = items;
		ring->cap = cap;
	}
	ring->items[ring->count++] = *item;
	for (id = 1; id <= sim.count; id++)
		if (ring->nodes & CORE_NODE_BIT(id))
			sim_cpg_arm(id);
}

static bool quorate(core_nodes nodes)
{
	return (unsigned)__builtin_popcount(nodes) * 2 > sim.count;
}

static uint8_t message_type(const struct sim_ring_item *item)
{
	struct log_message msg;

	return log_message_decode(&msg, item->data, item->len) ? 0 : msg.type;
}

static void config_add(struct sim_ring *ring, uint8_t from)
{
	struct sim_ring_item item = { .kind = 1,
				      .from = from,
				      .members = ring->group,
				      .alive = ring->nodes,
				      .quorate = quorate(ring->nodes) };

	item_add(ring, &item);
}

void sim_cpg_send(uint8_t node, const void *data, size_t len)
{
	uint8_t *copy = sim_alloc(len + 4);
	uint32_t len32 = (uint32_t)len, offset;

	memcpy(copy, &len32, 4);
	memcpy(copy + 4, data, len);
	offset = (uint32_t)(copy - sim.arena);
	sim_push(sim.now + sim_below(3), SIM_EV_ORDER, node, offset, 0);
}

void sim_cpg_order(const struct sim_event *ev)
{
	struct sim_ring *ring = ring_of(ev->node);
	struct sim_ring_item item = { .kind = 0, .from = ev->node };
	struct sim_event again = *ev;

	if (!sim.nodes[ev->node].corosync)
		return;
	if (!ring || ring->frozen || !(ring->group & CORE_NODE_BIT(ev->node))) {
		/* Queued in the library until there is a ring again. */
		if (sim.nodes[ev->node].daemon)
			sim_push(sim.now + 20, SIM_EV_ORDER, again.node, again.a, 0);
		return;
	}
	memcpy(&item.len, sim.arena + ev->a, 4);
	item.data = sim.arena + ev->a + 4;
	item_add(ring, &item);
	if (sim.armed[PLAN_SEND])
		sim_hook(PLAN_SEND, message_type(&item), ev->node, 0);
}

void sim_cpg_arm(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_ring *ring = ring_of(node);

	if (!ring || n->deliver_armed || !n->corosync || !n->power)
		return;
	if (n->cursor >= ring->count && !n->next_ring)
		return;
	n->deliver_armed = true;
	sim_push(sim.now + sim_below(3) + (sim_chance(1) ? sim_below(60) : 0), SIM_EV_DELIVER, node, 0,
		 0);
}

static void ring_enter(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];

	n->ring = n->next_ring;
	n->next_ring = 0;
	n->cursor = 0;
}

/* Who did not come along from the old ring is told as gone, though it may be in the new one again. */
static bool parted_tell(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];

	if (!n->daemon || !(n->r->members & ~n->came_with))
		return true;
	replica_config(n->r, sim_now(node), n->r->members & n->came_with, n->came_with,
		       quorate(n->came_with));
	sim_after(node);
	return !sim.failed;
}

void sim_cpg_deliver(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_ring *ring = ring_of(node);
	unsigned burst = 1 + sim_below(4);

	n->deliver_armed = false;
	if (!ring || !n->corosync)
		return;
	if (!sim_node_runs(node) || (n->daemon && n->daemon_stalled > sim.now)) {
		n->deliver_armed = true;
		sim_push(sim_awake_at(node), SIM_EV_DELIVER, node, 0, 0);
		return;
	}
	while (burst--) {
		const struct sim_ring_item *item;

		if (n->next_ring && n->cursor >= n->cut) {
			ring_enter(node);
			ring = ring_of(node);
			if (!parted_tell(node))
				break;
		}
		if (n->cursor >= (n->next_ring ? n->cut : ring->count))
			break;
		if (n->next_ring && n->skip[n->cursor]) {
			n->cursor++;
			continue;
		}
		item = &ring->items[n->cursor++];
		if (!n->daemon)
			continue;
		if (item->kind == 1) {
			/* Before its own join is delivered, a clusterd hears nothing. */
			if (!(item->members & CORE_NODE_BIT(node)))
				continue;
			replica_config(n->r, sim_now(node), item->members, item->alive, item->quorate);
		} else if (n->r->members & CORE_NODE_BIT(item->from)) {
			if (sim.armed[PLAN_DELIVER])
				sim_hook(PLAN_DELIVER, message_type(item), node, item->from);
			if (replica_message(n->r, sim_now(node), item->from, item->data, item->len))
				sim_fail("node %u refused a message of node %u", node, item->from);
		}
		sim_after(node);
		if (sim.failed || !n->daemon)
			break;
	}
	sim_cpg_arm(node);
}

void sim_cpg_join(uint8_t node)
{
	struct sim_ring *ring = ring_of(node);

	if (sim.nodes[node].next_ring) {
		ring_enter(node);
		ring = ring_of(node);
	}
	if (!ring)
		return;
	/* What was ordered before it joined is not for it. */
	sim.nodes[node].cursor = ring->count;
	ring->group |= CORE_NODE_BIT(node);
	if (!ring->frozen)
		config_add(ring, node);
}

void sim_cpg_leave(uint8_t node)
{
	struct sim_ring *ring = ring_of(node);

	if (sim.nodes[node].next_ring)
		ring = &sim.rings[sim.nodes[node].next_ring];
	if (!ring || !(ring->group & CORE_NODE_BIT(node)))
		return;
	ring->group &= (core_nodes)~CORE_NODE_BIT(node);
	if (!ring->frozen)
		config_add(ring, node);
}

struct sim_ring *sim_cpg_ring(uint8_t node)
{
	return sim.nodes[node].next_ring ? &sim.rings[sim.nodes[node].next_ring] : ring_of(node);
}

/*
 * Those who go on together from a ring deliver the same of it: all that one of them has delivered, then
 * what they can still put together: a prefix that chance chooses, and of the rest what one of themselves has sent.
 */
static void ring_close(struct sim_ring *from, core_nodes together, uint32_t ret_ring)
{
	uint32_t least = 0, i;
	uint8_t *skip, id;

	for (id = 1; id <= sim.count; id++)
		if ((together & CORE_NODE_BIT(id)) && sim.nodes[id].cursor > least)
			least = sim.nodes[id].cursor;
	least += sim_below(from->count - least + 1);
	skip = sim_alloc(from->count + 1);
	memset(skip, 0, from->count + 1);
	for (i = least; i < from->count; i++)
		skip[i] = !(together & CORE_NODE_BIT(from->items[i].from));
	for (id = 1; id <= sim.count; id++) {
		if (!(together & CORE_NODE_BIT(id)))
			continue;
		sim.nodes[id].cut = from->count;
		sim.nodes[id].skip = skip;
		sim.nodes[id].came_with = together;
		sim.nodes[id].next_ring = ret_ring;
	}
}

/* Where from is: those of it that a quorate ring goes on without are lost for good reason. */
static void blame_parted(core_nodes from, core_nodes together, core_nodes want)
{
	uint8_t id;

	for (id = 1; id <= sim.count; id++)
		if (quorate(want) && (from & ~together & CORE_NODE_BIT(id)))
			sim_oracle_blame(id);
}

bool sim_cpg_ring_new(core_nodes want)
{
	uint8_t lowest = (uint8_t)(__builtin_ctz(want) + 1), b, c;
	struct sim_ring *old = sim_cpg_ring(lowest), *ring;
	core_nodes done = 0;

	if (old && old->nodes == want && !old->frozen)
		return true;
	if (sim.ring_count + 1 >= CL_ARRAY_LEN(sim.rings)) {
		sim_fail("too many rings");
		return false;
	}
	ring = &sim.rings[++sim.ring_count];
	memset(ring, 0, sizeof(*ring));
	ring->id = sim.ring_count;
	ring->nodes = want;
	for (b = 1; b <= sim.count; b++)
		if ((want & CORE_NODE_BIT(b)) && sim.nodes[b].daemon)
			ring->group |= CORE_NODE_BIT(b);
	for (b = 1; b <= sim.count; b++) {
		struct sim_node *m = &sim.nodes[b];
		struct sim_ring *from = ring_of(b);
		core_nodes together = 0;

		if (!(want & CORE_NODE_BIT(b)) || (done & CORE_NODE_BIT(b)))
			continue;
		if (m->next_ring) {
			/* It had not come to the ring that was forming: it never will. */
			blame_parted(sim.rings[m->next_ring].nodes, CORE_NODE_BIT(b), want);
			blame_parted(CORE_NODE_BIT(b), 0, want);
			m->next_ring = ring->id;
			m->came_with = CORE_NODE_BIT(b);
			done |= CORE_NODE_BIT(b);
			continue;
		}
		if (!from) {
			m->ring = ring->id;
			m->cursor = 0;
			done |= CORE_NODE_BIT(b);
			continue;
		}
		from->frozen = true;
		for (c = 1; c <= sim.count; c++)
			if ((want & CORE_NODE_BIT(c)) && sim.nodes[c].ring == m->ring &&
			    !sim.nodes[c].next_ring)
				together |= CORE_NODE_BIT(c);
		blame_parted(from->nodes, together, want);
		ring_close(from, together, ring->id);
		done |= together;
	}
	blame_parted(UINT16_MAX, want, want);
	config_add(ring, lowest);
	SIM_SAY("ring %u: nodes %x clusterds %x", ring->id, ring->nodes, ring->group);
	for (b = 1; b <= sim.count; b++)
		if (want & CORE_NODE_BIT(b))
			sim_cpg_arm(b);
	return true;
}
