/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/replay.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static struct csv_replay_cache c;
static const void *kept;
static size_t len;

static void once(void)
{
	csv_replay_init(&c);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 1, &kept, &len), CSV_REPLAY_STALE);
	csv_replay_client(&c, 3, 77);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 1, &kept, &len), CSV_REPLAY_NEW);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 1, &kept, &len), CSV_REPLAY_BUSY);
	csv_replay_finish(&c, 3, 77, 2, 1, "reply", 5);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 1, &kept, &len), CSV_REPLAY_REPEAT);
	CU_ASSERT(len == 5 && !memcmp(kept, "reply", 5));
	/* Another slot and another node know nothing of it. */
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 3, 1, &kept, &len), CSV_REPLAY_NEW);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 5, &kept, &len), CSV_REPLAY_NEW);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 4, &kept, &len), CSV_REPLAY_STALE);
}

static void not_done_after_all(void)
{
	csv_replay_finish(&c, 3, 77, 2, 5, NULL, 0);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 5, &kept, &len), CSV_REPLAY_NEW);
	csv_replay_finish(&c, 3, 77, 2, 4, "late", 4); /* of an operation that is no more: ignored */
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 5, &kept, &len), CSV_REPLAY_BUSY);
}

static void new_instance(void)
{
	csv_replay_client(&c, 3, 77); /* the same: kept */
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 5, &kept, &len), CSV_REPLAY_BUSY);
	csv_replay_client(&c, 3, 78);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 77, 2, 6, &kept, &len), CSV_REPLAY_STALE);
	CU_ASSERT_EQUAL(csv_replay_begin(&c, 3, 78, 2, 1, &kept, &len), CSV_REPLAY_NEW);
}

static void inference(void)
{
	CU_ASSERT_TRUE(csv_replay_means_done(CSV_OP_MKDIR, -EEXIST));
	CU_ASSERT_TRUE(csv_replay_means_done(CSV_OP_UNLINK, -ENOENT));
	CU_ASSERT_TRUE(csv_replay_means_done(CSV_OP_RENAME, -ENOENT));
	CU_ASSERT_FALSE(csv_replay_means_done(CSV_OP_MKDIR, -ENOSPC));
	CU_ASSERT_FALSE(csv_replay_means_done(CSV_OP_WRITE, -ENOENT));
	/* Every operation that is done once keeps a reply that fits. */
	for (unsigned op = CSV_OP_HELLO; op < CSV_OP_COUNT; op++) {
		static struct csv_rpc_msg m;
		uint8_t buf[CSV_REPLAY_BYTES];
		struct csv_rpc_hdr h = {.kind = CSV_RPC_REPLY, .op = op};

		if (!csv_op_idempotent(op))
			CU_ASSERT(csv_rpc_encode(&h, &m, buf, sizeof(buf)) > 0);
	}
}

UNIT_MAIN("replay", {"an operation happens once", once}, {"not done after all", not_done_after_all},
	  {"a csvd that started anew", new_instance}, {"what a new owner infers", inference})
