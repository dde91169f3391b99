// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The checker against histories known to be good and known to be bad.  For each
 * kind of finding there is a history that only that check sees: with the check
 * switched off it passes, so no check can be lost without a test failing.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#include "tests/lab/checker/check.h"

#define SLOTS 64u

static struct check_slot slots[SLOTS];
static struct check_ack acks[1024];
static size_t acks_count;
static uint8_t disk_id[STAMP_ID_BYTES] = "disk";
static struct check_result result;

struct writer {
	struct stamp next;
	uint64_t last_hash;
};

static void disk_clear(void)
{
	memset(slots, 0, sizeof(slots));
	acks_count = 0;
}

static struct writer writer_boot(uint64_t generation, uint8_t boot, const struct writer *after)
{
	struct writer w = { .next = { .generation = generation, .seq = 1, .mono_ns = 1000 } };

	if (after) {
		w.next.seq = after->next.seq;
		w.last_hash = after->last_hash;
	}
	w.next.boot_id[0] = boot;
	w.next.ram_hash = 77 + boot;
	memcpy(w.next.disk_id, disk_id, STAMP_ID_BYTES);
	return w;
}

static void writer_write(struct writer *w, bool ack)
{
	struct check_slot *slot = &slots[(w->next.seq - 1) % SLOTS];
	uint8_t bytes[STAMP_BYTES];

	w->next.prev_hash = w->last_hash;
	stamp_encode(&w->next, bytes);
	slot->state = CHECK_SLOT_STAMP;
	CU_ASSERT_EQUAL(stamp_decode(bytes, &slot->stamp), 0);
	slot->hash = w->last_hash = stamp_hash(bytes);
	if (ack)
		acks[acks_count++] =
			(struct check_ack){ .seq = w->next.seq, .hash = w->last_hash };
	w->next.seq++;
	w->next.mono_ns += 5;
	w->next.wall_ns += 5;
}

/* A good story: boot, live migration (same boot, next generation), restart. */
static void story_make(unsigned each)
{
	struct writer a = writer_boot(1, 1, NULL), b;

	disk_clear();
	for (unsigned i = 0; i < each; i++)
		writer_write(&a, true);
	a.next.generation = 2;
	for (unsigned i = 0; i < each; i++)
		writer_write(&a, true);
	b = writer_boot(3, 2, &a);
	for (unsigned i = 0; i < each; i++)
		writer_write(&b, i + 1 < each);
}

static bool judge(unsigned skip)
{
	return check_run(&(struct check_input){ .slots = slots, .slots_count = SLOTS,
						.disk_id = disk_id, .acks = acks,
						.acks_count = acks_count, .skip = skip },
			 &result);
}

static void good_test(void)
{
	disk_clear();
	CU_ASSERT_TRUE(judge(0)); /* an empty disk, nobody told anything */
	story_make(10);
	CU_ASSERT_TRUE(judge(0));
	CU_ASSERT_EQUAL(result.last_seq, 30);
	CU_ASSERT_EQUAL(result.boots, 2);
	CU_ASSERT_EQUAL(result.segments_count, 3);
	CU_ASSERT_EQUAL(result.segments[1].generation, 2);
	CU_ASSERT_EQUAL(result.segments[1].first_seq, 11);
	CU_ASSERT_EQUAL(result.segments[1].largest_gap_ns, 5);
	CU_ASSERT_EQUAL(result.acks_checked, 29);
	story_make(50); /* goes round the ring */
	CU_ASSERT_TRUE(judge(0));
	CU_ASSERT_EQUAL(result.first_seq, 150 - SLOTS + 1);
	CU_ASSERT_EQUAL(result.acks_outside + result.acks_checked, 149);
}

static void bad_make(enum check_kind kind)
{
	story_make(10);
	switch (kind) {
	case CHECK_BLOCK: slots[40].state = CHECK_SLOT_BAD; break;
	case CHECK_SLOT: slots[40] = slots[3]; break;
	case CHECK_DISK: slots[7].stamp.disk_id[3] ^= 1; break;
	case CHECK_GAP:
		slots[0].state = CHECK_SLOT_EMPTY;
		acks[0] = acks[1];
		break;
	case CHECK_CHAIN: slots[12].stamp.prev_hash ^= 1; break;
	case CHECK_ACK_LOST: acks[28].seq = 31; break;
	case CHECK_ACK_CHANGED: acks[4].hash ^= 1; break;
	case CHECK_GENERATION:
		for (unsigned i = 20; i < 30; i++)
			slots[i].stamp.generation = 1;
		break;
	case CHECK_BOOT:
		for (unsigned i = 20; i < 30; i++)
			slots[i].stamp.generation = 2;
		break;
	case CHECK_CLOCK: slots[15].stamp.mono_ns += 1000; break;
	case CHECK_RAM: slots[16].stamp.ram_hash ^= 1; break;
	case CHECK_READ_BACK: slots[17].stamp.read_bad = 1; break;
	case CHECK_IO_ERROR: slots[18].stamp.io_errors = 1; break;
	case CHECK_KINDS: break;
	}
}

static void each_check_needed_test(void)
{
	for (unsigned k = 0; k < CHECK_KINDS; k++) {
		bad_make(k);
		CU_ASSERT_FALSE(judge(0));
		CU_ASSERT_NOT_EQUAL(result.counts[k], 0);
		if (!judge(1u << k)) {
			fprintf(stderr, "%s: also found by another check\n", check_kind_name(k));
			CU_FAIL("a history that more than one check sees");
		}
	}
}

static void more_bad_test(void)
{
	story_make(10);
	slots[12].state = CHECK_SLOT_EMPTY; /* in the middle */
	CU_ASSERT_FALSE(judge(0));
	CU_ASSERT_EQUAL(result.counts[CHECK_GAP], 1);
	story_make(10);
	for (unsigned i = 25; i < 30; i++) { /* the first boot comes back */
		slots[i].stamp.boot_id[0] = 1;
		slots[i].stamp.generation = 4;
	}
	CU_ASSERT_FALSE(judge(0));
	CU_ASSERT_NOT_EQUAL(result.counts[CHECK_BOOT], 0);
	story_make(10);
	slots[16].stamp.ram_bad = 1;
	CU_ASSERT_FALSE(judge(0));
	disk_clear(); /* everything lost, but it was acknowledged */
	acks[acks_count++] = (struct check_ack){ .seq = 1, .hash = 1 };
	CU_ASSERT_FALSE(judge(0));
	acks[0].seq = 0;
	CU_ASSERT_FALSE(judge(0));
}

/* Two guests on one disk, each sure to be alone, in many interleavings. */
static void double_start_test(void)
{
	for (unsigned seed = 1; seed <= 500; seed++) {
		uint64_t rng = seed;
		struct writer a = writer_boot(1, 1, NULL), b;
		unsigned wrote_b = 0, wrote_a = 0;

		disk_clear();
		for (unsigned i = 0; i < 5; i++)
			writer_write(&a, true);
		b = writer_boot(2, 2, &a);
		while (wrote_a < 3 || wrote_b < 3) {
			rng = rng * 6364136223846793005ull + 1442695040888963407ull;
			if (rng >> 63) {
				writer_write(&a, true);
				wrote_a++;
			} else {
				writer_write(&b, true);
				wrote_b++;
			}
		}
		CU_ASSERT_FALSE(judge(0));
		CU_ASSERT_NOT_EQUAL(result.counts[CHECK_ACK_CHANGED] +
					    result.counts[CHECK_CHAIN], 0);
	}
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed = 1;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("check", NULL, NULL);
	if (suite && CU_add_test(suite, "good histories", good_test) &&
	    CU_add_test(suite, "each check is needed", each_check_needed_test) &&
	    CU_add_test(suite, "more bad histories", more_bad_test) &&
	    CU_add_test(suite, "double start", double_start_test)) {
		CU_basic_set_mode(CU_BRM_NORMAL);
		CU_basic_run_tests();
		failed = CU_get_number_of_failures();
	}
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
