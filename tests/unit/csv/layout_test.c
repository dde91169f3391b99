/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/layout.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct csv_lfile files[16];
static struct csv_layouts t;
static const struct csv_fh A = {100, 1}, B = {116, 1};
static uint64_t seq, rseq;
static bool orphan;
static unsigned orphans;
static const struct csv_xrecord none, nine = {9, "vm"}, bare = {9, ""};

static void on_orphan(void *arg, struct csv_fh fh)
{
	orphans++;
}

static void fresh(void)
{
	csv_layouts_init(&t, files, sizeof(files) / sizeof(files[0]));
	csv_layout_open(&t, A, 1);
	csv_layout_open(&t, A, 2);
	orphans = 0;
}

static void one_writer_or_readers(void)
{
	fresh();
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 3, false, 0, &seq), CSV_GRANT_NOT_OPEN);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 1, false, 0, &seq), CSV_GRANT_OK);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, false, 0, &seq), CSV_GRANT_OK);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 1, true, 0, &seq), CSV_GRANT_CONFLICT);
	CU_ASSERT_EQUAL(csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 1, &rseq), csv_node_bit(2));
	CU_ASSERT_NOT_EQUAL(csv_layout_awaited(&t, A, 1), 0);
	/* Nothing is granted while it runs, not even to who holds it. */
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 1, true, 0, &seq), CSV_GRANT_RECALLING);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, false, 0, &seq), CSV_GRANT_RECALLING);
	CU_ASSERT_EQUAL(csv_layout_returned(&t, A, 2, rseq), 0);
	CU_ASSERT_EQUAL(csv_layout_awaited(&t, A, 1), 0);
	csv_layout_recall_end(&t, A, 1000, true);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 1, true, 1001, &seq), CSV_GRANT_OK);
	/* Who lost it does not take it back at once. */
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, false, 1001, &seq), CSV_GRANT_QUIET);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, false, 1000 + CSV_LAYOUT_QUIET_MS, &seq), CSV_GRANT_CONFLICT);
}

static void crossing_numbers(void)
{
	uint64_t first;

	fresh();
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 1, true, 0, &first), CSV_GRANT_OK);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 1, true, 0, &seq), CSV_GRANT_OK);
	CU_ASSERT(seq > first);
	/* A return of the former grant that comes late does not free the newer. */
	CU_ASSERT_EQUAL(csv_layout_returned(&t, A, 1, first), -ESTALE);
	CU_ASSERT_EQUAL(csv_layout_find(&t, A)->writer, 1);
	/* The number of a recall is above every grant before it: a client drops what is below. */
	CU_ASSERT_EQUAL(csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 0, &rseq), csv_node_bit(1));
	CU_ASSERT(rseq > seq);
	/* A second recall waits for the same return and tells nobody again. */
	CU_ASSERT_EQUAL(csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 0, &rseq), 0);
	csv_layout_returned(&t, A, 1, rseq);
	csv_layout_recall_end(&t, A, 0, false);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, true, 0, &seq), CSV_GRANT_RECALLING);
	csv_layout_recall_end(&t, A, 0, false);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, true, 0, &seq), CSV_GRANT_OK);
}

static void exclusive(void)
{
	fresh();
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, false, 0, &seq), CSV_GRANT_OK);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 5, &none, &seq), CSV_XOPEN_RECALL);
	csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 0, &rseq);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 5, &none, &seq), CSV_XOPEN_RECALLING);
	csv_layout_returned(&t, A, 2, rseq);
	csv_layout_recall_end(&t, A, 0, false);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 5, &none, &seq), CSV_XOPEN_OK);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 5, &none, &seq), CSV_XOPEN_OK); /* again: fine */
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, false, 0, &seq), CSV_GRANT_EXCLUSIVE);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 5, &none, &seq), CSV_XOPEN_STALE);
	/* Whatever number another VM has: numbers of two VMs are not compared. */
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "other", 5, &none, &seq), CSV_XOPEN_OTHER);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "other", 999, &none, &seq), CSV_XOPEN_OTHER);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 4, &none, &seq), CSV_XOPEN_STALE);
	/* A higher one displaces, after the recall. */
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 6, &none, &seq), CSV_XOPEN_DISPLACE);
	CU_ASSERT_EQUAL(csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 0, &rseq), csv_node_bit(1));
	csv_layout_returned(&t, A, 1, rseq);
	csv_layout_recall_end(&t, A, 0, false);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 6, &none, &seq), CSV_XOPEN_OK);
	/* The displaced one's close takes nothing away; nor may it come back after the close. */
	CU_ASSERT_FALSE(csv_layout_xclose(&t, A, 1, 5, &orphan));
	CU_ASSERT_EQUAL(csv_layout_find(&t, A)->x_node, 2);
	csv_layout_xclose(&t, A, 2, 6, &orphan);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 5, &none, &seq), CSV_XOPEN_STALE);
	/* What the file itself remembers counts as seen. */
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, B, 1, "vm", 5, &nine, &seq), CSV_XOPEN_STALE);
}

/* poc3 of the review: a truncate is under way when a VM starts. */
static void nothing_beside_a_change(void)
{
	uint32_t tell;

	fresh();
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, A, 0, &tell, &rseq), CSV_CHANGE_OK);
	CU_ASSERT_EQUAL(tell, 0);
	CU_ASSERT_EQUAL(csv_layout_grant(&t, A, 2, true, 0, &seq), CSV_GRANT_RECALLING);
	CU_ASSERT_EQUAL(csv_layout_xopen_begin(&t, A), CSV_XOPEN_OK);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 5, &none, &seq), CSV_XOPEN_RECALLING);
	CU_ASSERT_EQUAL(csv_layout_find(&t, A)->writer, 0);
	/* The open that waits lets no further change begin, and no second open. */
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, A, 1, &tell, &rseq), CSV_CHANGE_WAIT);
	CU_ASSERT_EQUAL(csv_layout_xopen_begin(&t, A), CSV_XOPEN_RECALLING);
	csv_layout_recall_end(&t, A, 0, false);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 5, &none, &seq), CSV_XOPEN_OK);
	csv_layout_xopen_end(&t, A);
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, A, 1, &tell, &rseq), CSV_CHANGE_EXCLUSIVE);
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, A, 2, &tell, &rseq), CSV_CHANGE_EXCLUSIVE);
	/* Redirected: no layout is out, and the VM's own node writes through the owner. */
	csv_layout_returned(&t, A, 2, seq);
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, A, 2, &tell, &rseq), CSV_CHANGE_OK);
	/* The node is fenced; what it had begun is the owner's own command and is waited for. */
	csv_layout_node_gone(&t, 2, on_orphan, NULL);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 6, &none, &seq), CSV_XOPEN_RECALLING);
	csv_layout_recall_end(&t, A, 0, false);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "vm", 6, &none, &seq), CSV_XOPEN_OK);
	/* A file that nobody has open: its truncate is seen by who opens it meanwhile. */
	csv_layouts_init(&t, files, sizeof(files) / sizeof(files[0]));
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, B, 0, &tell, &rseq), CSV_CHANGE_OK);
	csv_layout_open(&t, B, 1);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, B, 1, "vm", 5, &none, &seq), CSV_XOPEN_RECALLING);
	csv_layout_recall_end(&t, B, 0, false);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, B, 1, "vm", 5, &none, &seq), CSV_XOPEN_OK);
}

static void whose_disk(void)
{
	const struct csv_xrecord a = {241, "a"};

	fresh();
	/* Recorded as the disk of a: no number of another VM opens it, none is compared. */
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "x", 1u << 30, &a, &seq), CSV_XOPEN_OTHER);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "x", 3, &a, &seq), CSV_XOPEN_OTHER);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "a", 34, &a, &seq), CSV_XOPEN_STALE);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 1, "a", 242, &a, &seq), CSV_XOPEN_OK);
	/* A release that kept the number only. */
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, B, 1, "x", 8, &bare, &seq), CSV_XOPEN_STALE);
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, B, 1, "x", 9, &bare, &seq), CSV_XOPEN_OK);
}

static void late_reclaims(void)
{
	uint32_t tell;

	/* Displaced under the last owner; the file knows it though this table does not. */
	fresh();
	CU_ASSERT_EQUAL(csv_layout_xreclaim(&t, A, 1, "vm", 8, &nine, true, &seq), -ESTALE);
	CU_ASSERT_EQUAL(csv_layout_xreclaim(&t, A, 1, "x", 10, &nine, true, &seq), -ESTALE);
	CU_ASSERT_EQUAL(csv_layout_xreclaim(&t, A, 2, "vm", 9, &nine, true, &seq), 0);
	/* After the grace, when somebody changes the file already. */
	fresh();
	CU_ASSERT_EQUAL(csv_layout_change_begin(&t, A, 0, &tell, &rseq), CSV_CHANGE_OK);
	CU_ASSERT_EQUAL(csv_layout_xreclaim(&t, A, 2, "vm", 9, &nine, true, &seq), -ESTALE);
}

static void orphan_at_last_close(void)
{
	fresh();
	csv_layout_find(&t, A)->orphan = true;
	CU_ASSERT_FALSE(csv_layout_close(&t, A, 1, &orphan));
	CU_ASSERT_TRUE(csv_layout_close(&t, A, 2, &orphan));
	CU_ASSERT_TRUE(orphan);
	CU_ASSERT_PTR_NULL(csv_layout_find(&t, A));
	/* A recall in progress keeps the entry until its end. */
	fresh();
	csv_layout_find(&t, A)->orphan = true;
	csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 0, &rseq);
	csv_layout_close(&t, A, 1, &orphan);
	CU_ASSERT_FALSE(csv_layout_close(&t, A, 2, &orphan));
	CU_ASSERT_TRUE(csv_layout_recall_end(&t, A, 0, false));
	CU_ASSERT_PTR_NULL(csv_layout_find(&t, A));
}

static void sessions(void)
{
	fresh();
	csv_layout_open(&t, B, 2);
	csv_layout_find(&t, B)->orphan = true;
	CU_ASSERT_EQUAL(csv_layout_xopen(&t, A, 2, "vm", 3, &none, &seq), CSV_XOPEN_OK);
	csv_layout_session_begin(&t, 2);
	CU_ASSERT_EQUAL(csv_layout_xreclaim(&t, A, 2, "vm", 3, &none, true, &seq), 0);
	csv_layout_session_end(&t, 2, on_orphan, NULL);
	CU_ASSERT_EQUAL(orphans, 1); /* B was not confirmed */
	CU_ASSERT_EQUAL(csv_layout_find(&t, A)->x_node, 2);
	CU_ASSERT_EQUAL(csv_layout_find(&t, A)->writer, 2);
	CU_ASSERT_EQUAL(csv_layout_xreclaim(&t, A, 1, "vm", 2, &none, true, &seq), -ESTALE);
	/* Fenced: its layout and its recalls are no more. */
	csv_layout_recall_begin(&t, A, CSV_RECALL_ALL, 0, &rseq);
	CU_ASSERT_NOT_EQUAL(csv_layout_awaited(&t, A, 0), 0);
	csv_layout_node_gone(&t, 2, on_orphan, NULL);
	CU_ASSERT_EQUAL(csv_layout_awaited(&t, A, 0), 0);
	CU_ASSERT_EQUAL(csv_layout_users(&t), csv_node_bit(1));
	csv_layout_recall_end(&t, A, 0, false);
}

/* Any sequence of calls keeps the rules; the table stays searchable through its removals. */
static void at_random(void)
{
	unsigned present;

	srand(7);
	csv_layouts_init(&t, files, sizeof(files) / sizeof(files[0]));
	for (unsigned i = 0; i < 200000; i++) {
		struct csv_fh fh = {(uint64_t)(rand() % 12) << 20, 1};
		uint32_t node = (uint32_t)(rand() % 3) + 1;

		switch (rand() % 6) {
		case 0:
		case 1:
			CU_ASSERT_EQUAL(csv_layout_open(&t, fh, node), 0);
			break;
		case 2:
			csv_layout_close(&t, fh, node, &orphan);
			break;
		case 3:
			csv_layout_grant(&t, fh, node, rand() & 1, i, &seq);
			break;
		case 4:
			if (csv_layout_find(&t, fh)) {
				csv_layout_recall_begin(&t, fh, CSV_RECALL_ALL, 0, &rseq);
				for (uint32_t n = 1; n <= 3; n++)
					csv_layout_returned(&t, fh, n, rseq);
				csv_layout_recall_end(&t, fh, i, false);
			}
			break;
		default:
			csv_layout_node_gone(&t, node, NULL, NULL);
		}
		present = 0;
		for (size_t k = 0; k < t.capacity; k++) {
			if (!files[k].used)
				continue;
			present++;
			if (csv_layout_find(&t, files[k].fh) != &files[k] ||
			    (files[k].writer && files[k].readers & ~csv_node_bit(files[k].writer)))
				CU_FAIL_FATAL("a rule is broken");
		}
		if (present != t.count)
			CU_FAIL_FATAL("the count is wrong");
	}
	CU_PASS("200000 steps");
}

UNIT_MAIN("layout", {"one writer or several readers", one_writer_or_readers},
	  {"grants and recalls that cross", crossing_numbers}, {"exclusive opener", exclusive},
	  {"nothing is admitted beside a change", nothing_beside_a_change},
	  {"a disk is one VM's", whose_disk}, {"reclaims that come late", late_reclaims},
	  {"orphan goes with its last user", orphan_at_last_close}, {"sessions", sessions},
	  {"at random", at_random})
