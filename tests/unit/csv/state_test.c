/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/state.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct csv_volume_state s;

static void normal_life(void)
{
	csv_state_init(&s, 10);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_PAUSED);
	CU_ASSERT_EQUAL(s.since_ms, 10);
	CU_ASSERT_FALSE(csv_state_active(&s));
	CU_ASSERT_TRUE(csv_state_input(&s, CSV_IN_OWNER, 2, 5, NULL, 20)); /* the reason changes */
	CU_ASSERT_EQUAL(s.since_ms, 10);
	CU_ASSERT_TRUE(csv_state_input(&s, CSV_IN_CONNECTED, 0, 0, NULL, 30));
	CU_ASSERT_EQUAL(s.state, CSV_STATE_RECLAIM);
	CU_ASSERT_FALSE(csv_state_active(&s));
	csv_state_input(&s, CSV_IN_RECLAIMED, 0, 0, NULL, 40);
	CU_ASSERT_TRUE(csv_state_active(&s) && csv_state_direct(&s));
	CU_ASSERT_FALSE(csv_state_input(&s, CSV_IN_OWNER, 2, 5, NULL, 50)); /* nothing new */
	CU_ASSERT_EQUAL(s.since_ms, 40);
	/* Redirection is active, but not direct. */
	csv_state_input(&s, CSV_IN_REDIRECT, 1, 0, NULL, 60);
	CU_ASSERT(csv_state_active(&s) && !csv_state_direct(&s));
	csv_state_input(&s, CSV_IN_REDIRECT, 0, 0, NULL, 70);
	csv_state_input(&s, CSV_IN_PATH, 0, 0, "I/O error", 80);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_BLOCK_REDIRECTED);
	CU_ASSERT_STRING_EQUAL(s.reason, "I/O error");
	csv_state_input(&s, CSV_IN_PATH, 1, 0, NULL, 90);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_DIRECT);
}

static void owner_changes(void)
{
	/* Of an old term: not believed. */
	CU_ASSERT_FALSE(csv_state_input(&s, CSV_IN_OWNER, 3, 4, NULL, 100));
	CU_ASSERT_EQUAL(s.owner, 2);
	csv_state_input(&s, CSV_IN_DISCONNECTED, 0, 0, "lost", 110);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_PAUSED);
	CU_ASSERT_STRING_EQUAL(s.reason, "lost");
	/* Reclaimed without a connection means nothing. */
	csv_state_input(&s, CSV_IN_RECLAIMED, 0, 0, NULL, 115);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_PAUSED);
	csv_state_input(&s, CSV_IN_OWNER, 3, 6, NULL, 120);
	csv_state_input(&s, CSV_IN_CONNECTED, 0, 0, NULL, 130);
	csv_state_input(&s, CSV_IN_RECLAIMED, 0, 0, NULL, 140);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_DIRECT);
	/* A new owner means a new connection. */
	csv_state_input(&s, CSV_IN_OWNER, 1, 7, NULL, 150);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_PAUSED);
	csv_state_input(&s, CSV_IN_RELEASE, 1, 0, NULL, 160);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_DRAINING);
	csv_state_input(&s, CSV_IN_RELEASE, 0, 0, NULL, 170);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_PAUSED);
	csv_state_input(&s, CSV_IN_OWNER, 0, 7, NULL, 180);
	CU_ASSERT_STRING_EQUAL(s.reason, "no owner is known");
}

static void down_is_for_good(void)
{
	CU_ASSERT_TRUE(csv_state_input(&s, CSV_IN_DOWN, 0, 0, "key lost", 200));
	CU_ASSERT_EQUAL(s.state, CSV_STATE_DOWN);
	CU_ASSERT_STRING_EQUAL(s.reason, "key lost");
	csv_state_input(&s, CSV_IN_OWNER, 2, 9, NULL, 210);
	csv_state_input(&s, CSV_IN_CONNECTED, 0, 0, NULL, 220);
	csv_state_input(&s, CSV_IN_RECLAIMED, 0, 0, NULL, 230);
	CU_ASSERT_EQUAL(s.state, CSV_STATE_DOWN);
	CU_ASSERT_EQUAL(s.since_ms, 200);
	CU_ASSERT_FALSE(csv_state_input(&s, CSV_IN_DOWN, 0, 0, "again", 240));
	for (unsigned i = 0; i <= CSV_STATE_DOWN; i++)
		CU_ASSERT(strlen(csv_state_name(i)) > 1);
	CU_ASSERT_STRING_EQUAL(csv_state_name(99), "?");
}

UNIT_MAIN("state", {"normal life", normal_life}, {"owner changes", owner_changes},
	  {"down is for good", down_is_for_good})
