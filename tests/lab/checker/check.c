// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verdict on a ring of stamps; see check.h.
 *
 * The newest stamp fixes the window: everything from it back to the ring's size
 * (or to stamp 1) must be there, linked by hashes.  What the guest did not hear the
 * disk confirm may be there or not.
 */
#include "tests/lab/checker/check.h"

#include <string.h>

static const struct {
	const char *name, *text;
} kinds[CHECK_KINDS] = {
	[CHECK_BLOCK] = { "block", "a block is neither a whole stamp nor empty" },
	[CHECK_SLOT] = { "slot", "a stamp lies where another belongs" },
	[CHECK_DISK] = { "disk", "a stamp of another disk" },
	[CHECK_GAP] = { "gap", "a stamp is missing" },
	[CHECK_CHAIN] = { "chain", "the chain is forked: two writers" },
	[CHECK_ACK_LOST] = { "ack-lost", "an acknowledged stamp is lost" },
	[CHECK_ACK_CHANGED] = { "ack-changed",
				"an acknowledged stamp was overwritten: two writers" },
	[CHECK_GENERATION] = { "generation", "a generation went down" },
	[CHECK_BOOT] = { "boot", "two boots in one generation, or an older boot came back" },
	[CHECK_CLOCK] = { "clock", "the guest's clock went back" },
	[CHECK_RAM] = { "ram", "the guest's memory changed by itself" },
	[CHECK_READ_BACK] = { "read-back", "the guest read something else than it wrote" },
	[CHECK_IO_ERROR] = { "io-error", "the guest's disk reported an error" },
};

const char *check_kind_name(enum check_kind kind)
{
	return kinds[kind].name;
}

const char *check_kind_text(enum check_kind kind)
{
	return kinds[kind].text;
}

static void finding_add(const struct check_input *in, struct check_result *r, enum check_kind kind,
			uint64_t seq, uint64_t seen, uint64_t expected)
{
	if (in->skip & 1u << kind)
		return;
	if (!r->counts[kind]++)
		r->first[kind] = (struct check_finding){ .seq = seq, .seen = seen,
							 .expected = expected };
}

static const struct check_slot *slot_of(const struct check_input *in, uint64_t seq)
{
	const struct check_slot *slot = &in->slots[(seq - 1) % in->slots_count];

	return slot->state == CHECK_SLOT_STAMP && slot->stamp.seq == seq ? slot : NULL;
}

/* Each slot by itself; finds the newest stamp. */
static void slots_check(const struct check_input *in, struct check_result *r)
{
	for (uint64_t i = 0; i < in->slots_count; i++) {
		const struct check_slot *slot = &in->slots[i];

		if (slot->state == CHECK_SLOT_EMPTY)
			continue;
		if (slot->state == CHECK_SLOT_BAD) {
			finding_add(in, r, CHECK_BLOCK, i + 1, i, 0);
			continue;
		}
		if ((slot->stamp.seq - 1) % in->slots_count != i) {
			finding_add(in, r, CHECK_SLOT, slot->stamp.seq, i,
				    (slot->stamp.seq - 1) % in->slots_count);
			continue;
		}
		if (memcmp(slot->stamp.disk_id, in->disk_id, STAMP_ID_BYTES))
			finding_add(in, r, CHECK_DISK, slot->stamp.seq, i, 0);
		if (slot->stamp.seq > r->last_seq)
			r->last_seq = slot->stamp.seq;
	}
	if (r->last_seq)
		r->first_seq = r->last_seq > in->slots_count ? r->last_seq - in->slots_count + 1 : 1;
}

static bool boot_known(const struct check_result *r, const uint8_t *boot_id)
{
	size_t n = r->segments_count < CHECK_SEGMENTS ? r->segments_count : CHECK_SEGMENTS;

	for (size_t i = 0; i < n; i++)
		if (!memcmp(r->segments[i].boot_id, boot_id, STAMP_ID_BYTES))
			return true;
	return false;
}

static void segment_add(struct check_result *r, const struct stamp *s, bool new_boot)
{
	if (r->segments_count < CHECK_SEGMENTS) {
		struct check_segment *g = &r->segments[r->segments_count];

		memcpy(g->boot_id, s->boot_id, STAMP_ID_BYTES);
		g->generation = s->generation;
		g->first_seq = s->seq;
		g->first_wall_ns = s->wall_ns;
		g->largest_gap_ns = 0;
	}
	r->segments_count++;
	r->boots += new_boot;
}

static void pair_check(const struct check_input *in, struct check_result *r,
		       const struct check_slot *prev, const struct check_slot *cur)
{
	const struct stamp *p = &prev->stamp, *s = &cur->stamp;
	bool same_boot = !memcmp(p->boot_id, s->boot_id, STAMP_ID_BYTES);

	if (s->prev_hash != prev->hash)
		finding_add(in, r, CHECK_CHAIN, s->seq, s->prev_hash, prev->hash);
	if (s->generation < p->generation)
		finding_add(in, r, CHECK_GENERATION, s->seq, s->generation, p->generation);
	if (!same_boot && s->generation == p->generation)
		finding_add(in, r, CHECK_BOOT, s->seq, s->generation, p->generation + 1);
	else if (!same_boot && boot_known(r, s->boot_id))
		finding_add(in, r, CHECK_BOOT, s->seq, s->generation, 0);
	if (same_boot && s->mono_ns < p->mono_ns)
		finding_add(in, r, CHECK_CLOCK, s->seq, s->mono_ns, p->mono_ns);
	if (same_boot && s->ram_hash != p->ram_hash)
		finding_add(in, r, CHECK_RAM, s->seq, s->ram_hash, p->ram_hash);
	if (!same_boot || s->generation != p->generation)
		segment_add(r, s, !same_boot);
}

static void segment_extend(struct check_result *r, const struct stamp *s, uint64_t gap_ns)
{
	struct check_segment *g;

	if (r->segments_count > CHECK_SEGMENTS)
		return;
	g = &r->segments[r->segments_count - 1];
	g->last_seq = s->seq;
	g->last_wall_ns = s->wall_ns;
	if (gap_ns > g->largest_gap_ns)
		g->largest_gap_ns = gap_ns;
}

static void window_check(const struct check_input *in, struct check_result *r)
{
	const struct check_slot *prev = NULL;

	for (uint64_t seq = r->first_seq; seq && seq <= r->last_seq; seq++) {
		const struct check_slot *cur = slot_of(in, seq);
		uint64_t gap_ns = 0;

		if (!cur) {
			/* A bad block was told by itself. */
			if (in->slots[(seq - 1) % in->slots_count].state != CHECK_SLOT_BAD)
				finding_add(in, r, CHECK_GAP, seq, 0, seq);
			continue;
		}
		if (cur->stamp.ram_bad)
			finding_add(in, r, CHECK_RAM, seq, cur->stamp.ram_bad, 0);
		if (cur->stamp.read_bad)
			finding_add(in, r, CHECK_READ_BACK, seq, cur->stamp.read_bad, 0);
		if (cur->stamp.io_errors)
			finding_add(in, r, CHECK_IO_ERROR, seq, cur->stamp.io_errors, 0);
		if (!prev)
			segment_add(r, &cur->stamp, true);
		else
			pair_check(in, r, prev, cur);
		if (seq == 1 && cur->stamp.prev_hash)
			finding_add(in, r, CHECK_CHAIN, seq, cur->stamp.prev_hash, 0);
		if (prev && cur->stamp.mono_ns > prev->stamp.mono_ns &&
		    !memcmp(cur->stamp.boot_id, prev->stamp.boot_id, STAMP_ID_BYTES))
			gap_ns = cur->stamp.mono_ns - prev->stamp.mono_ns;
		segment_extend(r, &cur->stamp, gap_ns);
		prev = cur;
	}
}

static void acks_check(const struct check_input *in, struct check_result *r)
{
	for (size_t i = 0; i < in->acks_count; i++) {
		const struct check_ack *ack = &in->acks[i];
		const struct check_slot *slot;

		if (ack->seq < r->first_seq) {
			r->acks_outside++;
			continue;
		}
		r->acks_checked++;
		slot = ack->seq && ack->seq <= r->last_seq ? slot_of(in, ack->seq) : NULL;
		if (!slot)
			finding_add(in, r, CHECK_ACK_LOST, ack->seq, r->last_seq, ack->seq);
		else if (slot->hash != ack->hash)
			finding_add(in, r, CHECK_ACK_CHANGED, ack->seq, slot->hash, ack->hash);
	}
}

bool check_run(const struct check_input *in, struct check_result *ret_result)
{
	memset(ret_result, 0, sizeof(*ret_result));
	slots_check(in, ret_result);
	window_check(in, ret_result);
	acks_check(in, ret_result);
	for (unsigned k = 0; k < CHECK_KINDS; k++)
		if (ret_result->counts[k])
			return false;
	return true;
}
